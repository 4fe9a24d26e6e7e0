"""Tiny models by name: real architectures with random weights, one to ten megabytes each."""

from __future__ import annotations

from tests.hub import flow_matching, stable_diffusion
from tests.hub.builders import Builder
from tests.hub.derived_models import DERIVED

# Each builder saves a folder that `DiffusionPipeline.from_pretrained` can load.
TINY: dict[str, Builder] = {
    "tiny-sd15": stable_diffusion.stable_diffusion_1,
    "tiny-sd21": stable_diffusion.stable_diffusion_2,
    "tiny-sdxl": stable_diffusion.stable_diffusion_xl,
    "tiny-sd3": flow_matching.stable_diffusion_3,
    "tiny-flux-dev": flow_matching.flux_dev,
    "tiny-flux-schnell": flow_matching.flux_schnell,
    "tiny-flux-kontext": flow_matching.flux_kontext,
    "tiny-flux2-klein": flow_matching.flux2_klein,
    "tiny-z-image": flow_matching.z_image,
    "tiny-qwen-image": flow_matching.qwen_image,
    "tiny-sana": flow_matching.sana,
}

# Models that were trained to inpaint, and can do nothing else.
TINY_INPAINTING: dict[str, Builder] = {
    "tiny-sd15-inpainting": stable_diffusion.stable_diffusion_inpainting,
    "tiny-flux-fill": flow_matching.flux_fill,
}

# Models of pipelines that have no row in the table of families, by the class of the pipeline.
TINY_DERIVED: dict[str, Builder] = DERIVED

# Models that edit pictures, and make none without one. Their pipelines look at a million pixels: they are slow.
TINY_EDITING: dict[str, Builder] = {
    "tiny-qwen-image-edit": flow_matching.qwen_image_edit,
    "tiny-qwen-image-edit-plus": flow_matching.qwen_image_edit_plus,
}
