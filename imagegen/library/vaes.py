"""VAEs that take the place of a model's own: those in the models folder, and those in the Hub's caches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imagegen.errors import NotOnDisk, UnusableModel
from imagegen.library.network_index import NetworkIndex, has_config, read_network_config
from imagegen.library.vae_latents import UnknownVae, detect_latents, is_diffusers_vae, read_latents
from imagegen.library.weight_files import SafetensorsHeader


class VaeIndex(NetworkIndex):
    """All VAEs. Their architecture is that of the latents which they make."""

    def _find_facts(self, reference: str, path: Path, header: SafetensorsHeader) -> dict[str, Any]:
        is_of_hub = not any(path.is_relative_to(folder) for folder in self.folders)
        if is_of_hub and is_diffusers_vae(header) and not has_config(path):
            raise NotOnDisk(reference, self.kind)  # Its weights alone were downloaded, as something else.
        try:
            if has_config(path):
                latents = read_latents(read_network_config(path), reference)
            else:
                latents = detect_latents(header, reference)
        except UnknownVae as error:
            raise UnusableModel(reference, str(error), self.kind) from None
        return {"architecture": latents.architecture, "latents": latents}
