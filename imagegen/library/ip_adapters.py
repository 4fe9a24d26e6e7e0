"""IP-Adapters: those in the models folder, and those in the Hub's caches, each with its image encoder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any

from imagegen.errors import NotOnDisk, UnusableModel
from imagegen.library.config_limits import find_config_problem
from imagegen.library.family_facts import FLUX
from imagegen.library.ip_adapter_architectures import (
    EncoderOutput,
    IpAdapterFacts,
    UnknownIpAdapter,
    detect_ip_adapter,
)
from imagegen.library.model_info import READ_ERRORS
from imagegen.library.network_index import CONFIG_FILE, NetworkIndex, find_folder_weights
from imagegen.library.weight_files import SafetensorsHeader, read_header
from imagegen.schema.models import UNKNOWN_ARCHITECTURE, AdapterSource

# The setting of an image encoder with the width of what an IP-Adapter gets of it.
WIDTH_SETTINGS: dict[EncoderOutput, str] = {"projection": "projection_dim", "hidden": "hidden_size"}
# As transformers identifies a CLIPVisionModelWithProjection, and a CLIPModel, which has a text encoder beside it.
ENCODER_TYPE, PAIR_TYPE = "clip_vision_model", "clip"
# A repository with the image encoder of IP-Adapters for FLUX.1, whose own repositories have none.
FLUX_ENCODER = "openai/clip-vit-large-patch14"


class IpAdapterIndex(NetworkIndex):
    """All IP-Adapters. The image encoder of one is a folder in diffusers format in the same folder or repository."""

    def list_sources(self, reference: str, weight: float = 1.0) -> tuple[AdapterSource, ...]:
        return self.get_source(reference, weight), self._get_encoder_source(reference)

    def _get_encoder_source(self, reference: str) -> AdapterSource:
        """Returns what a worker needs to encode pictures for an IP-Adapter. Reads the whole file once, for its SHA-256.

        Raises what `get` raises, and UnusableModel if there is no image encoder for it.
        """
        adapter = self.get(reference)
        facts = detect_ip_adapter(read_header(adapter.path))
        weights = self._find_encoder(adapter.path, facts)
        if weights is None:
            raise UnusableModel(adapter.info.id, describe_missing_encoder(facts), self.kind)
        self._check_links(reference, weights.parent)
        return AdapterSource(
            kind="image_encoder",
            id=weights.parent.as_posix(),
            name=f"the image encoder of {adapter.info.name}",
            path=weights.absolute(),
            sha256=self.checksums.compute_weights(weights),
            architecture=UNKNOWN_ARCHITECTURE,
        )

    def has_encoder(self, facts: IpAdapterFacts) -> bool:
        """Returns whether an image encoder for an IP-Adapter is in the models folder."""
        return any(self._find_encoder(folder / CONFIG_FILE, facts) is not None for folder in self.folders)

    def _find_facts(self, reference: str, path: Path, header: SafetensorsHeader) -> dict[str, Any]:
        try:
            facts = detect_ip_adapter(header)
        except UnknownIpAdapter as error:
            raise UnusableModel(reference, str(error), self.kind) from None
        if self._is_of_hub(path) and self._find_encoder(path, facts) is None:
            raise NotOnDisk(reference, self.kind)  # The file alone was downloaded.
        return {"architecture": facts.architecture}

    def _find_encoder(self, path: Path, facts: IpAdapterFacts) -> Path | None:
        """Returns the weights of the nearest image encoder that an IP-Adapter can use, None if there is none."""
        for config in self._list_configs(path):
            weights = find_folder_weights(config.parent)
            if weights is not None and fits_encoder(read_config(config), facts):
                return weights if find_config_problem(config.parent, (CONFIG_FILE,)) is None else None
        return None

    def _list_configs(self, path: Path) -> Iterator[Path]:
        """Yields the configurations in the repository of an IP-Adapter and in the folders, the nearest first."""
        snapshot = next((parent for parent in path.parents if parent.parent.name == "snapshots"), None)
        roots = [snapshot, *self.folders] if snapshot is not None and self._is_of_hub(path) else self.folders
        for root in roots:
            files = [file.relative_to(root).as_posix() for file in root.rglob(CONFIG_FILE)]
            own = path.relative_to(root).as_posix() if path.is_relative_to(root) else ""
            yield from (root / file for file in sort_by_distance(files, own))

    def _is_part(self, path: Path) -> bool:
        return find_encoder_config(read_config(path.parent / CONFIG_FILE)) is not None

    def _is_of_hub(self, path: Path) -> bool:
        return not any(path.is_relative_to(folder) for folder in self.folders)


def read_config(file: Path) -> Mapping[str, Any]:
    """Returns a configuration; nothing if it cannot be read."""
    try:
        config = json.loads(file.read_bytes())
    except READ_ERRORS:
        return {}
    return config if isinstance(config, dict) else {}


def sort_by_distance(files: Iterable[str], path: str) -> list[str]:
    """Returns relative paths, those first that have the most folders with `path` in common."""
    return sorted(files, key=lambda file: (-count_common_folders(file, path), file))


def count_common_folders(path: str, other: str) -> int:
    pairs = zip(PurePosixPath(path).parent.parts, PurePosixPath(other).parent.parts, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def fits_encoder(config: Mapping[str, Any], facts: IpAdapterFacts) -> bool:
    """Returns whether an IP-Adapter can use the image encoder of a configuration."""
    encoder_config = find_encoder_config(config)
    return (
        encoder_config is not None and encoder_config.get(WIDTH_SETTINGS[facts.encoder_output]) == facts.encoder_width
    )


def find_encoder_config(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Returns the settings of the image encoder in a configuration, which may be that of both encoders of CLIP.

    None for another network.
    """
    if config.get("model_type") == ENCODER_TYPE:
        return config
    own = config.get("vision_config") if config.get("model_type") == PAIR_TYPE else None
    common = {name: config[name] for name in ("projection_dim",) if name in config}
    return {**own, **common} if isinstance(own, dict) else None


def describe_missing_encoder(facts: IpAdapterFacts) -> str:
    setting = WIDTH_SETTINGS[facts.encoder_output]
    wanted = f"a folder with a {ENCODER_TYPE} whose {setting} is {facts.encoder_width}"
    example = f"; {FLUX_ENCODER} has it, for models/ip_adapters" if facts.architecture == FLUX.architecture else ""
    return f"there is no image encoder for it, {wanted}{example}"
