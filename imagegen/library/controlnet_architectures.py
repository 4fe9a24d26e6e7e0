"""The architectures of ControlNets: recognized from the names and shapes of a file's tensors, without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from imagegen.library.architectures import get_unet_architecture
from imagegen.library.weight_files import SafetensorsHeader

Shapes = Mapping[str, tuple[int, ...]]

# The prefix of tensor names in the format of the first ControlNets (https://github.com/lllyasviel/ControlNet).
ORIGINAL_PREFIX = "control_model."
# Parts of tensor names that only one kind of network has, with what the studio calls it.
UNSUPPORTED_NETWORKS = (
    ("task_embedding", "a ControlNet for several kinds of pictures (union)"),
    ("lora_controlnet", "a Control-LoRA"),
    ("controlnet_x_embedder", "a ControlNet for FLUX.1"),
    ("pos_embed_input", "a ControlNet for Stable Diffusion 3"),
    ("control_layers", "a ControlNet for Z-Image"),
    ("input_hint_block_share", "a ControlNet++"),
    ("adapter.body", "a T2I-Adapter"),
)


class UnknownControlNet(ValueError):
    """The tensors are not those of a ControlNet that the studio can use. The message is about the file."""


def is_controlnet(shapes: Shapes) -> bool:
    """Returns whether a file is a ControlNet for a UNet, in the format of diffusers or in the original one."""
    return find_first(shapes, is_diffusers_mark) is not None or find_first(shapes, is_original_mark) is not None


def is_original_format(shapes: Shapes) -> bool:
    """Returns whether the tensors have the names of the original format."""
    return find_first(shapes, is_original_mark) is not None


def is_diffusers_mark(name: str) -> bool:
    return name.startswith("controlnet_cond_embedding.")


def is_original_mark(name: str) -> bool:
    return name.removeprefix(ORIGINAL_PREFIX).startswith("input_hint_block.0.")


def detect_controlnet_architecture(header: SafetensorsHeader) -> str:
    """Returns the architecture of the models that a ControlNet is for. Raises UnknownControlNet."""
    shapes = header.shapes
    for mark, name in UNSUPPORTED_NETWORKS:
        if find_first(shapes, lambda each, mark=mark: mark in each) is not None:  # type: ignore[misc]
            raise UnknownControlNet(f"it is {name}, which is not supported yet")
    if not is_controlnet(shapes):
        raise UnknownControlNet("it contains no ControlNet")
    projection = find_first(shapes, lambda name: name.endswith("attn2.to_k.weight"))
    if projection is None:
        raise UnknownControlNet("it does not look at the prompt, so that nothing says for which models it is")
    return get_unet_architecture(shapes[projection][1])


def find_first(shapes: Shapes, matches: Callable[[str], bool]) -> str | None:
    return next(filter(matches, shapes), None)
