"""The architectures of ControlNets: recognized from the names and shapes of a file's tensors, without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import get_args

from imagegen.library.architectures import get_unet_architecture
from imagegen.library.family_facts import FLUX, STABLE_DIFFUSION_3, Z_IMAGE
from imagegen.library.weight_files import SafetensorsHeader
from imagegen.schema.controls import ControlMode, ControlType

Shapes = Mapping[str, tuple[int, ...]]

# The prefix of tensor names in the format of the first ControlNets (https://github.com/lllyasviel/ControlNet).
ORIGINAL_PREFIX = "control_model."
# The tensor of a union ControlNet for UNets with a row for each type of control map, and that of one for FLUX.1.
UNION_MARK, FLUX_UNION_MARK = "task_embedding", "controlnet_mode_embedder.weight"
# The types of control maps of union ControlNets, in the order of their numbers: those of
# xinsir/controlnet-union-sdxl-1.0, without the last, which is for inpainting, and those of
# InstantX/FLUX.1-dev-Controlnet-Union on the Hub.
UNET_TYPES: tuple[ControlType, ...] = ("pose", "depth", "softedge", "canny", "normal", "segmentation", "tile")
FLUX_TYPES: tuple[ControlType, ...] = ("canny", "tile", "depth", "blur", "pose", "gray", "low_quality")
# Parts of tensor names that only one kind of network has, with what the studio calls it.
UNSUPPORTED_NETWORKS = (
    ("lora_controlnet", "a Control-LoRA"),
    ("double_blocks.", "a ControlNet for FLUX.1 in another format than that of diffusers"),
    ("transformer_blocks.0.img_mlp.", "a ControlNet for Qwen-Image"),
    ("input_hint_block_share", "a ControlNet++"),
    ("adapter.body", "a T2I-Adapter"),
)
# Beginnings of tensor names that only one class of ControlNets in diffusers has.
CLASS_MARKS = (
    (UNION_MARK, "ControlNetUnionModel"),
    ("controlnet_x_embedder.", "FluxControlNetModel"),
    ("pos_embed_input.", "SD3ControlNetModel"),
    ("control_all_x_embedder.", "ZImageControlNetModel"),
    ("controlnet_cond_embedding.", "ControlNetModel"),
)
# The architectures of the models that ControlNets of a class are for. Of UNets, the shapes of tensors say it.
ARCHITECTURE_BY_CLASS = {
    "FluxControlNetModel": FLUX.architecture,
    "SD3ControlNetModel": STABLE_DIFFUSION_3.architecture,
    "ZImageControlNetModel": Z_IMAGE.architecture,
}


class UnknownControlNet(ValueError):
    """The tensors are not those of a ControlNet that the studio can use. The message is about the file."""


def is_original_format(shapes: Shapes) -> bool:
    """Returns whether the tensors have the names of the original format."""
    return find_first(shapes, is_original_mark) is not None


def is_original_mark(name: str) -> bool:
    return name.removeprefix(ORIGINAL_PREFIX).startswith("input_hint_block.0.")


def detect_network_class(shapes: Shapes) -> str:
    """Returns the class of a ControlNet in diffusers. Raises UnknownControlNet."""
    for mark, name in UNSUPPORTED_NETWORKS:
        if find_first(shapes, lambda each, mark=mark: mark in each) is not None:  # type: ignore[misc]
            raise UnknownControlNet(f"it is {name}, which is not supported yet")
    for mark, class_name in CLASS_MARKS:
        if find_first(shapes, lambda each, mark=mark: each.startswith(mark)) is not None:  # type: ignore[misc]
            return class_name
    if not is_original_format(shapes):
        raise UnknownControlNet("it contains no ControlNet")
    return "ControlNetModel"


def detect_controlnet_architecture(header: SafetensorsHeader) -> str:
    """Returns the architecture of the models that a ControlNet is for. Raises UnknownControlNet."""
    shapes = header.shapes
    class_name = detect_network_class(shapes)
    if class_name in ARCHITECTURE_BY_CLASS:
        return ARCHITECTURE_BY_CLASS[class_name]
    projection = find_first(shapes, lambda name: name.endswith("attn2.to_k.weight"))
    if projection is None:
        raise UnknownControlNet("it does not look at the prompt, so that nothing says for which models it is")
    return get_unet_architecture(shapes[projection][1])


def list_control_types(shapes: Shapes) -> tuple[ControlType, ...]:
    """Returns the types of control maps of a union ControlNet, in the order of their numbers; none for others."""
    for mark, types in ((UNION_MARK, UNET_TYPES), (FLUX_UNION_MARK, FLUX_TYPES)):
        if mark in shapes:
            return types[: shapes[mark][0]]
    return ()


def list_control_modes(architecture: str) -> tuple[ControlMode, ...]:
    """Returns what can count more, the prompt or the control: it needs the levels of a UNet."""
    return ("balanced",) if architecture in ARCHITECTURE_BY_CLASS.values() else get_args(ControlMode)


def find_first(shapes: Shapes, matches: Callable[[str], bool]) -> str | None:
    return next(filter(matches, shapes), None)
