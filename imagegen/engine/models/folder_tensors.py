"""Compares the tensors in a folder in diffusers format with the networks that were loaded from it.

diffusers only logs what it did not use, and leaves what it did not find without values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from torch import nn

from imagegen.engine.models.network_files import rename_attention
from imagegen.engine.protocols import Pipeline
from imagegen.errors import ModelLoadFailed
from imagegen.library.weight_files import list_indexed_files, read_components, read_header
from imagegen.text import truncate

# The names of the weights of diffusers' networks begin with this.
WEIGHTS_NAME = "diffusion_pytorch_model"
MAX_NAME_CHARS = 120


def check_networks(pipeline: Pipeline, folder: Path, name: str, variant: str | None) -> None:
    """Raises ModelLoadFailed, which names the tensor, unless diffusers has used each tensor of its networks.

    `name` is that of the model, `variant` that of the weights that were asked for. Weights that a quantization has
    packed have other names in memory. The networks of transformers come from files with more than one network.
    """
    for part, network in pipeline.components.items():
        if isinstance(network, nn.Module):
            empty = next((each for each, weight in network.named_parameters() if weight.is_meta), None)
            if empty is not None:
                raise ModelLoadFailed(name, f"its {part} has no tensor {truncate(empty, MAX_NAME_CHARS)}")
    for part, (library, _) in read_components(folder).items():
        network = pipeline.components.get(part)
        if library == "diffusers" and isinstance(network, nn.Module) and not is_quantized(network, folder / part):
            check_used(network, folder / part, name, variant)


def is_quantized(network: nn.Module, folder: Path) -> bool:
    """Returns whether a network was quantized when it was loaded, or before it was saved."""
    config = json.loads((folder / "config.json").read_bytes())
    return getattr(network, "hf_quantizer", None) is not None or "quantization_config" in config


def check_used(network: nn.Module, folder: Path, name: str, variant: str | None) -> None:
    """Raises ModelLoadFailed for a tensor in a component's folder that its network does not have."""
    known = network.state_dict().keys()
    ignored = getattr(network, "_keys_to_ignore_on_load_unexpected", None) or ()
    for file in list_loaded_files(folder, variant):
        for tensor in read_header(file).shapes:
            is_ignored = any(re.search(pattern, tensor) for pattern in ignored)
            if not is_ignored and not {tensor, rename_attention(tensor)} & known:
                shown = truncate(tensor, MAX_NAME_CHARS)
                raise ModelLoadFailed(name, f"its tensor {shown} has no place in its {folder.name}")


def list_loaded_files(folder: Path, variant: str | None) -> Iterator[Path]:
    """Yields the files of a component that diffusers loads: those of the variant, else those without one."""
    files = sorted(folder.glob(f"{WEIGHTS_NAME}*.safetensors"))
    chosen = [file for file in files if variant is not None and f".{variant}" in file.name]
    chosen = chosen or [file for file in files if file.name.count(".") == 1]
    indexes = [folder / f"{WEIGHTS_NAME}.safetensors.index{suffix}.json" for suffix in (f".{variant}", "")]
    index = next((index for index in indexes if index.is_file()), None)
    indexed = list_indexed_files(index) if index is not None else set()
    parts = [file for file in chosen if file.name in indexed]
    yield from parts or chosen
