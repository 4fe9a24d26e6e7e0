"""Checks a LoRA file by the names and shapes of its tensors and its statements, before any tensor is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from imagegen.library.architectures import TEXT_ENCODER_NAMES, detect_lora_architecture, has_part
from imagegen.library.lora_tensors import LOW_RANK_ROLES, LayerTensors, UnsupportedLora, group_tensors
from imagegen.library.peft_config import CONFIG_FILE, METADATA_KEY, parse_statements
from imagegen.library.weight_files import SafetensorsHeader, read_header

MAX_CONFIG_BYTES = 2**18


@dataclass(frozen=True)
class LoraFacts:
    """The architecture that a LoRA was trained for, and why it cannot be used; None if it can.

    `shared_passes`: jobs with it can share passes with jobs that have other LoRAs.
    """

    architecture: str
    problem: str | None = None
    shared_passes: bool = True


def inspect_lora(file: Path, peft_config: str | None) -> LoraFacts:
    """Returns what the head of a LoRA file tells. `peft_config` is the text of PEFT's configuration beside it.

    Raises BrokenWeights.
    """
    status = file.stat()
    return inspect_unchanged(file, status.st_size, status.st_mtime_ns, peft_config)


@lru_cache(maxsize=1024)
def inspect_unchanged(file: Path, _size: int, _modified: int, peft_config: str | None) -> LoraFacts:
    """Size in bytes and modification time in ns are part of the cache key: lists are made often."""
    header = read_header(file)
    try:
        layers = check_lora(header, peft_config)
    except UnsupportedLora as error:
        return LoraFacts(detect_lora_architecture(header), str(error))
    shared_passes = all(
        has_part(layer, TEXT_ENCODER_NAMES) or tensors.keys() <= LOW_RANK_ROLES for layer, tensors in layers.items()
    )
    return LoraFacts(detect_lora_architecture(header), shared_passes=shared_passes)


def read_adapter_config(file: Path, header: SafetensorsHeader) -> str | None:
    """Returns the text of PEFT's configuration beside a file; None if there is none, or it is not of this file.

    It is of the files in its folder whose tensors have PEFT's names, and which have no such statements of their own.
    """
    config = file.with_name(CONFIG_FILE)
    is_peft = any(".lora_A." in name or name.startswith("base_model.model.") for name in header.shapes)
    if not is_peft or METADATA_KEY in header.metadata or not config.is_file():
        return None
    with config.open(encoding="utf-8", errors="replace") as stream:
        return stream.read(MAX_CONFIG_BYTES)


def check_lora(header: SafetensorsHeader, adapter_config: str | None) -> Mapping[str, LayerTensors]:
    """Returns the tensors by layer and role. Raises UnsupportedLora for a tensor or a statement that cannot be used."""
    layers = group_tensors(header.shapes)
    statements = parse_statements(header.metadata, adapter_config)
    for layer, tensors in layers.items():
        found = statements.find(layer)
        rank = get_rank(header, tensors)
        if found is not None and rank is not None:
            config, name = found
            config.get_scale(name, rank)
    return layers


def get_rank(header: SafetensorsHeader, tensors: LayerTensors) -> int | None:
    """Returns the rank of a layer's low-rank product; None if it has none."""
    shape = header.shapes[tensors["down"]] if "down" in tensors else ()
    return shape[0] if shape else None
