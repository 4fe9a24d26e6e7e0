"""Tiny models by name: of true architectures, with random weights, of one to ten megabytes."""

from __future__ import annotations

from tests.hub import flow_matching, stable_diffusion
from tests.hub.building import Builder

# Each saves to a folder what `DiffusionPipeline.from_pretrained` loads from it.
TINY: dict[str, Builder] = {
    "tiny-sd15": stable_diffusion.stable_diffusion_1,
    "tiny-sd21": stable_diffusion.stable_diffusion_2,
    "tiny-sdxl": stable_diffusion.stable_diffusion_xl,
    "tiny-sd3": flow_matching.stable_diffusion_3,
    "tiny-flux-dev": flow_matching.flux_dev,
    "tiny-flux-schnell": flow_matching.flux_schnell,
    "tiny-flux2-klein": flow_matching.flux2_klein,
    "tiny-z-image": flow_matching.z_image,
    "tiny-qwen-image": flow_matching.qwen_image,
    "tiny-sana": flow_matching.sana,
}
