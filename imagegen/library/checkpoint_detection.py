"""Single-file checkpoints: what they are, by the names and the shapes of their tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from imagegen.library.checkpoint_names import list_names
from imagegen.library.family_facts import FLUX, STABLE_DIFFUSION, STABLE_DIFFUSION_XL
from imagegen.library.original_tensors import CLIP_PREFIX, OPEN_CLIP_PREFIX, UNET_PREFIX, XL_OPEN_CLIP_PREFIX, Shape
from imagegen.library.weight_files import SafetensorsHeader
from imagegen.settings import ASSETS_DIR
from imagegen.text import truncate

CONFIGS_DIR = ASSETS_DIR / "configs"
# The shipped configurations. Those of Stable Diffusion 2 at 512 and at 768 pixels are for the same tensors, and so are
# the last three.
ConfigName = Literal["sd-1", "sd-2", "sd-2-base", "sd-xl", "cosxl", "playground-2.5"]

# What checkpoints are that cannot be used, by the input channels of their denoisers.
UNSUPPORTED_CHANNELS = {
    5: "Stable Diffusion 2 for depth maps",
    7: "the upscaler of Stable Diffusion",
    8: "InstructPix2Pix",
}
UNSUPPORTED_FLUX_CHANNELS = {128: "FLUX.1 Depth or Canny", 196: "FLUX.1 with a control of its own"}
# Architectures that are loaded from folders alone, by a pattern that the name of a tensor has. The first one counts.
OTHER_ARCHITECTURES = (
    (re.compile(r"distilled_guidance_layer\."), "Chroma"),
    (re.compile(r"double_stream_modulation_img\."), "FLUX.2"),
    (re.compile(r"(^|\.)joint_blocks\.\d"), "Stable Diffusion 3"),
    (re.compile(r"transformer_blocks\.\d+\.img_mod\."), "Qwen-Image"),
    (re.compile(r"x_pad_token$"), "Z-Image"),
    (re.compile(r"noise_refiner\.\d"), "Lumina 2"),
    (re.compile(r"double_layers\.\d"), "AuraFlow"),
    (re.compile(r"mlp_t5\.\d"), "HunyuanDiT"),
    (re.compile(r"individual_token_refiner\."), "HunyuanVideo"),
    (re.compile(r"attention_y_norm"), "Sana"),
    (re.compile(r"patchify_proj\."), "LTX-Video"),
    (re.compile(r"blocks\.\d+\.cross_attn\.norm_k"), "Wan"),
    (re.compile(r"conditioner\.embedders\.0\.model\.transformer\.resblocks"), "the refiner of Stable Diffusion XL"),
)
# Files that are no models, by a pattern that the name of a tensor has, and where the studio looks for them.
OTHER_KINDS = (
    (re.compile(r"(^|[._])lora[._A-Z]|\.hada_|\.lokr_|\.oft_"), "a LoRA", "loras"),
    (re.compile(r"^control_model\.|controlnet_cond_embedding|^input_hint_block"), "a ControlNet", "controlnets"),
    (re.compile(r"^ip_adapter\.|^image_proj\.|^ip_adapter_proj_model\."), "an IP-Adapter", "ip_adapters"),
    (re.compile(r"^emb_params$|^clip_l$|^clip_g$|^<.*>$"), "a textual inversion", "embeddings"),
    (re.compile(r"^(first_stage_model\.)?decoder\.(conv_in|mid)"), "a VAE", "vaes"),
    (re.compile(r"^(model\.0|conv_first|body\.0)\.weight$"), "an upscaler", "upscalers"),
)
DIFFUSERS_NAMES = re.compile(r"^(down_blocks\.\d+\.resnets|(single_)?transformer_blocks\.\d+\.)")
# Names of tensors are shown up to here.
MAX_NAME_CHARS = 120
SUPPORTED = "Stable Diffusion 1, 2, XL or FLUX.1"
# By a prefix of a text encoder, the most telling one first.
CONFIG_BY_PREFIX: Mapping[str, ConfigName] = {
    XL_OPEN_CLIP_PREFIX: "sd-xl",
    OPEN_CLIP_PREFIX: "sd-2",
    CLIP_PREFIX: "sd-1",
}
# The ends of the names of the layers that take the latents.
INPUT_LAYERS = ("input_blocks.0.0.weight", "img_in.weight")
FIRST_LAYER = f"{UNET_PREFIX}input_blocks.0.0.weight"
# Suffixes of tensors that belong to weights which bitsandbytes has packed, 4 or 8 bits each.
PACKED_WEIGHTS = re.compile(r"\.(quant_state\.bitsandbytes__\w+|absmax|quant_map|nested_absmax|SCB|weight_format)$")


class UnsupportedCheckpoint(ValueError):
    """The file is no checkpoint that the studio can load. The message is about the file."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint is: the class of its pipeline, and the input channels of its denoiser.

    `config` is the name of its configuration. It is None for FLUX.1, whose files have no text encoders and no
    autoencoder: they need a complete model on disk for both. `has_guidance`: its guidance scale is an input.
    """

    pipeline: str
    config: ConfigName | None
    in_channels: int
    has_guidance: bool = False


def detect_checkpoint(header: SafetensorsHeader) -> Checkpoint:
    """Returns what a checkpoint is. Raises UnsupportedCheckpoint for one that cannot be loaded, with the reason."""
    names = list_names(header)
    packed = next((name for name in header.shapes if PACKED_WEIGHTS.search(name)), None)
    if packed is not None:
        raise UnsupportedCheckpoint(f"its weights are packed by bitsandbytes, as its tensor {shorten(packed)} says")
    if "double_blocks.0.img_attn.qkv.weight" in names and not has_prefix(names, "distilled_guidance_layer."):
        return detect_flux(names)
    found = (config for prefix, config in CONFIG_BY_PREFIX.items() if has_prefix(names, prefix))
    config, first_layer = next(found, None), names.get(FIRST_LAYER)
    if config is None or first_layer is None:
        raise UnsupportedCheckpoint(describe_file(names))
    channels = first_layer[1] if len(first_layer) > 1 else 0
    check_channels(channels, UNSUPPORTED_CHANNELS)
    pipeline = STABLE_DIFFUSION_XL.pipeline if config == "sd-xl" else STABLE_DIFFUSION.pipeline
    return Checkpoint(pipeline, config, channels)


def shorten(name: str) -> str:
    """Returns the name of a tensor as it is shown: files may have names of any length."""
    return truncate(name, MAX_NAME_CHARS)


def detect_flux(names: Mapping[str, Shape]) -> Checkpoint:
    """Returns what a denoiser of FLUX.1 is. Raises UnsupportedCheckpoint."""
    first_layer = names.get("img_in.weight", ())
    channels = first_layer[1] if len(first_layer) > 1 else 0
    check_channels(channels, UNSUPPORTED_FLUX_CHANNELS)
    return Checkpoint(FLUX.pipeline, None, channels, has_guidance=has_prefix(names, "guidance_in."))


def check_channels(channels: int, unsupported: Mapping[int, str]) -> None:
    """Raises UnsupportedCheckpoint for input channels that say what else a denoiser is for."""
    if channels in unsupported:
        raise UnsupportedCheckpoint(f"it is {unsupported[channels]}, as its {channels} input channels say")


def has_prefix(names: Iterable[str], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in names)


def read_input_channels(header: SafetensorsHeader) -> int | None:
    """Returns the input channels of the denoiser in a checkpoint; None if its first layer has another name."""
    return next((shape[1] for name, shape in header.shapes.items() if name.endswith(INPUT_LAYERS)), None)


def describe_file(names: Iterable[str]) -> str:
    """Returns what a file is that is no checkpoint of a supported architecture, as a clause."""
    names = list(names)
    bare = [name.removeprefix(UNET_PREFIX) for name in names]
    other = next((title for pattern, title in OTHER_ARCHITECTURES if any(map(pattern.search, bare))), None)
    if other is not None:
        return f"it is {other}, and single files can be {SUPPORTED}; load a folder in diffusers format instead"
    if any(name.startswith("input_blocks.0.0.") for name in bare):
        return "it is a denoiser of Stable Diffusion alone, without its text encoders"
    kind = next((kind for pattern, *kind in OTHER_KINDS if any(map(pattern.search, names))), None)
    if kind is not None:
        return f"it is {kind[0]}, which belongs in the folder {kind[1]}"
    if any(map(DIFFUSERS_NAMES.search, bare)):
        return "it is one part of a model in diffusers format; use the whole folder"
    return f"it is not a checkpoint of {SUPPORTED}"
