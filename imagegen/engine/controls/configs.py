"""Configurations of ControlNets in files without one, by the architecture of their models.

The values are those of config.json in lllyasviel/control_v11p_sd15_canny, thibaud/controlnet-sd21-canny-diffusers and
diffusers/controlnet-canny-sdxl-1.0 on the Hub, and those of alibaba-pai/Z-Image-Turbo-Fun-Controlnet-Union in the
file z_image_control.yaml of https://github.com/aigc-apps/VideoX-Fun.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CONFIG_BY_ARCHITECTURE: Mapping[str, Mapping[str, Any]] = {
    "Stable Diffusion 1": {"cross_attention_dim": 768},
    "Stable Diffusion 2": {
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
    },
    "Stable Diffusion XL": {
        "cross_attention_dim": 2048,
        "attention_head_dim": (5, 10, 20),
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
    "Z-Image": {"control_layers_places": (0, 5, 10, 15, 20, 25), "control_in_dim": 16},
}
