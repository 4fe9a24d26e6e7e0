"""VAEs that take the place of a model's own: those in the models folder, and those in the Hub's caches."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from imagegen.errors import NotOnDisk, UnknownModel, UnusableModel
from imagegen.library.adapters import AdapterIndex
from imagegen.library.network_index import NetworkIndex, has_config, read_network_config
from imagegen.library.vae_latents import UnknownVae, detect_latents, is_diffusers_vae, match_name, read_latents
from imagegen.library.weight_files import SafetensorsHeader
from imagegen.schema.models import UNKNOWN_ARCHITECTURE, AdapterSource, Latents

# Small and fast, and the same latents as the large one of its models: https://github.com/madebyollin/taesd.
TINY_CLASS = "AutoencoderTiny"


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


def find_preview_decoder(vaes: AdapterIndex, latents: Latents | None) -> AdapterSource | None:
    """Returns the first AutoencoderTiny that is known to be for these latents; None if there is none.

    Nothing but their names tells those on the Hub apart, so that it looks into repositories with such a name alone.
    """
    if latents is None or latents.architecture == UNKNOWN_ARCHITECTURE:
        return None
    for vae in vaes.list_available(lambda name: match_name(name, latents.channels) == latents.architecture):
        if vae.info.latents == latents and has_config(vae.path):
            with suppress(OSError, ValueError, UnknownModel, UnusableModel, NotOnDisk):
                if read_network_config(vae.path).get("_class_name") == TINY_CLASS:
                    return vaes.get_source(vae.info.id)
    return None
