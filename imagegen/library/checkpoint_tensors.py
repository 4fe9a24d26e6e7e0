"""Compares the tensors of a checkpoint with those of its networks. Each of them is used, or the file is refused."""

from __future__ import annotations

from collections.abc import Container, Mapping
from math import prod
from pathlib import Path

from imagegen.library.checkpoint_detection import Checkpoint, UnsupportedCheckpoint, shorten
from imagegen.library.checkpoint_names import MARKERS, carries_nothing, map_names
from imagegen.library.original_tensors import Shape, list_flux, list_stable_diffusion
from imagegen.library.weight_files import SafetensorsHeader

FLOAT_DTYPES = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
FP8_DTYPES = ("F8_E4M3", "F8_E5M2")
# By which suffix a layer with weights in fp8 names the number that these are multiplied by: ComfyUI's name, and that of
# NVIDIA's ModelOpt. The scale of the inputs beside it is for devices that compute in fp8: the studio does not.
WEIGHT_SCALES = (".scale_weight", ".weight_scale")
INPUT_SCALES = (".scale_input", ".input_scale")
# An empty tensor that says that scales may follow.
SCALE_MARKER = "scaled_fp8"


def check_checkpoint(header: SafetensorsHeader, checkpoint: Checkpoint, folder: Path) -> None:
    """Checks a checkpoint against the configuration in a folder. Raises UnsupportedCheckpoint, which names the tensor.

    Raises OSError, ValueError and LookupError for a configuration that cannot be read.
    """
    if checkpoint.config is None:
        check_tensors(header, list_flux(folder, checkpoint.in_channels), markers=())
    else:
        expected = list_stable_diffusion(folder, checkpoint.in_channels, open_clip=checkpoint.config == "sd-2")
        check_tensors(header, expected, MARKERS)


def check_tensors(header: SafetensorsHeader, expected: Mapping[str, Shape], markers: Container[str]) -> None:
    """Raises UnsupportedCheckpoint unless a file has exactly the expected tensors, by their usual names.

    `markers` are the names of tensors that say something else.
    """
    found = set()
    scales = find_scales(header)
    for name, usual in map_names(header.shapes).items():
        if usual in markers or carries_nothing(usual) or is_scale(name, scales):
            continue
        if usual not in expected:
            raise UnsupportedCheckpoint(f"its tensor {shorten(name)} has no place in its networks")
        if usual in found:
            raise UnsupportedCheckpoint(f"its tensor {shorten(name)} is there twice, under another name too")
        check_tensor(name, header, expected[usual])
        found.add(usual)
    missing = next((name for name in expected if name not in found), None)
    if missing is not None:
        raise UnsupportedCheckpoint(f"it has no tensor {missing}")


def check_tensor(name: str, header: SafetensorsHeader, expected: Shape) -> None:
    """Raises UnsupportedCheckpoint for a tensor of another shape, or of a type that holds no plain numbers."""
    shape, dtype = header.shapes[name], header.dtypes[name]
    if dtype not in FLOAT_DTYPES:
        raise UnsupportedCheckpoint(f"its tensor {shorten(name)} has the type {dtype}")
    if strip_ones(shape) != strip_ones(expected):
        raise UnsupportedCheckpoint(
            f"its tensor {shorten(name)} has the shape {describe(shape)}, where {describe(expected)} is expected"
        )


def strip_ones(shape: Shape) -> Shape:
    """Returns a shape without the sides of 1 at its end: some layers are convolutions of one pixel in some tools."""
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def describe(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "1"


def find_scales(header: SafetensorsHeader) -> dict[str, str]:
    """Returns the names of scales in a file, each with the weights that are multiplied by it.

    Raises UnsupportedCheckpoint for a scale of weights that are not in fp8, or of another shape than one number for all
    or for each output.
    """
    scales: dict[str, str] = {}
    for name, shape in header.shapes.items():
        suffix = next((suffix for suffix in WEIGHT_SCALES if name.endswith(suffix)), None)
        if suffix is None:
            continue
        weight = f"{name.removesuffix(suffix)}.weight"
        if header.dtypes.get(weight) not in FP8_DTYPES:
            raise UnsupportedCheckpoint(f"its tensor {shorten(name)} scales weights that are not in fp8")
        if prod(shape) != 1 and strip_ones(shape) != header.shapes[weight][:1]:
            raise UnsupportedCheckpoint(
                f"its tensor {shorten(name)} has the shape {describe(shape)}; it can be one number, or one per output"
            )
        if weight in scales.values():
            raise UnsupportedCheckpoint(f"its tensor {shorten(name)} is there twice, under another name too")
        scales[name] = weight
    return scales


def is_scale(name: str, scales: Mapping[str, str]) -> bool:
    """Returns whether a tensor belongs to weights with a scale."""
    if name in scales or name.rsplit(".", 1)[-1] == SCALE_MARKER:
        return True
    layer = next((name.removesuffix(suffix) for suffix in INPUT_SCALES if name.endswith(suffix)), None)
    return layer is not None and f"{layer}.weight" in scales.values()
