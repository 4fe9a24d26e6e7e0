"""Prepares the controls of a stage: their maps in its size, and the check that each ControlNet fits the denoiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from imagegen.engine.controls.job_controls import Control, JobControls
from imagegen.engine.models.loaded import LoadedModel
from imagegen.engine.models.network_cache import LoadedNetwork
from imagegen.engine.protocols import Pipeline, get_vae_scale_factor
from imagegen.engine.run_loop import run_in_thread, wait_for
from imagegen.errors import InvalidRequest, ModelLoadFailed
from imagegen.media.control_maps.preprocessors import PREPROCESSORS
from imagegen.schema.controls import ControlUse
from imagegen.schema.request import GenerationRequest
from imagegen.schema.sizes import Box, Size

# What a ControlNet and its UNet must have in common.
SHARED_SETTINGS = ("block_out_channels", "layers_per_block", "cross_attention_dim")


def prepare_controls(
    request: GenerationRequest,
    model: LoadedModel,
    pipeline: Pipeline,
    controlnets: Sequence[LoadedNetwork],
    input_images: Mapping[str, Image.Image],
    box: Box | None,
) -> JobControls:
    """Returns the controls of a stage. Other jobs go on while maps are made.

    `input_images` are pictures by place. `box` is the part of the picture that is painted, None for all of it.
    Raises InvalidRequest for a model whose networks are not shared, and ModelLoadFailed for a ControlNet that does not
    fit.
    """
    assert request.width is not None and request.height is not None
    if request.controls and model.shared_networks is None:
        raise InvalidRequest("controls", "cannot be used with a model that shares a small GPU (low_memory)")
    size = request.width, request.height
    controls = []
    for number, (use, controlnet) in enumerate(zip(request.controls, controlnets, strict=True)):
        check_settings(controlnet.network, model.denoiser, controlnet.source.name)
        check_map_scale(controlnet.network, get_vae_scale_factor(pipeline), controlnet.source.name)
        image = input_images[f"controls[{number}].image"]
        pixels = wait_for(run_in_thread(partial(build_condition, image, use, size, box)))
        config: Any = controlnet.network.config
        assert controlnet.shared is not None
        condition = pixels.to(next(controlnet.network.parameters()))
        controls.append(Control(use, controlnet.shared, config.in_channels, condition))
    return JobControls(controls, pipeline, len(request.prompts))


def check_settings(network: Any, denoiser: Any, name: str) -> None:
    """Raises ModelLoadFailed for a ControlNet whose blocks are not those of the UNet."""
    for setting in SHARED_SETTINGS:
        own, expected = (getattr(each.config, setting) for each in (network, denoiser))
        if list_values(own) != list_values(expected):
            raise ModelLoadFailed(name, f"it does not fit the model: its {setting} is {own} instead of {expected}")


def check_map_scale(network: Any, pixels_per_latent: int, name: str) -> None:
    """Raises ModelLoadFailed for a ControlNet that makes other features of a control map than latents have places.

    Each of its layers but the first halves the map's sides.
    """
    halvings = len(network.config.conditioning_embedding_out_channels) - 1
    if 2**halvings != pixels_per_latent:
        raise ModelLoadFailed(name, f"it does not fit the model, whose latents stand for {pixels_per_latent} pixels")


def list_values(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]


def build_condition(image: Image.Image, use: ControlUse, size: Size, box: Box | None) -> Tensor:
    """Returns the control map of a picture as numbers in 0..1, of shape (1, 3, height, width).

    The picture is cropped to the proportions of `size`, and then to `box`, which is enlarged to `size`.
    """
    fitted = ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    control_map = PREPROCESSORS[use.preprocessor].make(fitted)
    if box is not None and box != (0, 0, *size):
        control_map = control_map.resize(size, Image.Resampling.BILINEAR, box)
    return torch.from_numpy(np.asarray(control_map, dtype=np.float32) / 255).permute(2, 0, 1).unsqueeze(0)
