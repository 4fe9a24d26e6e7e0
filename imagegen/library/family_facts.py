"""The model families: what each can do, and its defaults. Needs no torch.

FAMILIES maps the class name of a diffusers pipeline to its family; for other classes, imagegen.library.families derives
one. What the engine does differently for a family is in imagegen.engine.families. The facts are those of diffusers
0.42.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, get_args

from imagegen.schema.field_types import SamplerName
from imagegen.schema.models import Guidance

# What makes the prompt embeddings: our encoder, for one CLIP text encoder or for two; or the pipeline itself.
PromptEncoding = Literal["clip", "clip pair", "pipeline"]

# Those of models with the noise levels of EDM.
EDM_SAMPLERS: tuple[SamplerName, ...] = ("DPM++ 2M", "Euler", "DPM++ 2M SDE")
ALL_SAMPLERS: tuple[SamplerName, ...] = tuple(name for name in get_args(SamplerName) if name != "Default")


@dataclass(frozen=True)
class Family:
    """What is known of a model family without loading a model of it.

    `pipeline` is the class name of its diffusers pipeline for text to image, `denoiser` the component of the pipeline
    that each step calls. `width`, `height`, `max_side` and `multiple` are in pixels: sides are multiples of `multiple`.
    `guidance_argument` is the pipeline's name for the guidance scale, whose value there is less by `guidance_offset`.
    `tokens` is the length limit of a prompt. The flags are capabilities; those of tasks have the task's name. A family
    that makes pictures of pictures but has no `strength` edits: the prompt says what becomes of the start image. One
    with `references` looks at them through `ip_adapters`, or gets them beside the start image.

    `inpainting_channels` are the input channels of a denoiser that was trained to inpaint, which gets the mask and the
    picture around it, too: such a model can do nothing else.
    `lora_tensor_pattern` is found in tensor names of LoRAs for the family; `lora_metadata_words` are found in what
    training tools write into their files. `variant_of` is the name of another family with the same tensors: nothing
    tells their LoRAs apart, and each takes those of the other.
    """

    pipeline: str
    name: str
    denoiser: Literal["unet", "transformer"]
    width: int
    height: int
    max_side: int
    steps: int
    guidance_scale: float
    guidance: Guidance = "classifier-free"
    guidance_argument: str | None = "guidance_scale"
    guidance_offset: float = 0.0
    sampler: SamplerName = "Euler"
    samplers: tuple[SamplerName, ...] = ("Euler",)
    multiple: int = 16
    prompts: PromptEncoding = "pipeline"
    tokens: int = 512
    text_to_image: bool = True
    image_to_image: bool = True
    inpainting: bool = True
    strength: bool = True
    clip_skip: bool = False
    latent_upscaling: bool = False
    step_cache: bool = True
    controlnet: bool = False
    references: bool = False
    ip_adapters: bool = False
    vae: bool = False
    embeddings: bool = False
    loras: bool = True
    shared_passes: bool = True
    inpainting_channels: int | None = None
    lora_tensor_pattern: re.Pattern[str] | None = None
    lora_metadata_words: tuple[str, ...] = ()
    variant_of: str | None = None

    @property
    def architecture(self) -> str:
        """What LoRAs for the family are made for."""
        return self.variant_of or self.name

    @property
    def negative_prompt(self) -> bool:
        return self.guidance in ("classifier-free", "true")


STABLE_DIFFUSION = Family(
    pipeline="StableDiffusionPipeline",
    name="Stable Diffusion",
    denoiser="unet",
    width=512,
    height=512,
    max_side=1024,
    steps=25,
    guidance_scale=7.5,
    sampler="DPM++ 2M Karras",
    samplers=ALL_SAMPLERS,
    multiple=8,
    prompts="clip",
    tokens=4000,
    clip_skip=True,
    latent_upscaling=True,
    controlnet=True,
    references=True,
    ip_adapters=True,
    vae=True,
    embeddings=True,
    inpainting_channels=9,
)
STABLE_DIFFUSION_XL = replace(
    STABLE_DIFFUSION,
    pipeline="StableDiffusionXLPipeline",
    name="Stable Diffusion XL",
    width=1024,
    height=1024,
    max_side=2048,
    steps=30,
    guidance_scale=5.0,
    prompts="clip pair",
    lora_metadata_words=("sdxl", "stable-diffusion-xl"),
)
# Not a family: what the families of transformers have in common.
TRANSFORMER = Family(
    pipeline="",
    name="",
    denoiser="transformer",
    width=1024,
    height=1024,
    max_side=2048,
    steps=28,
    guidance_scale=3.5,
)
FLUX = replace(
    TRANSFORMER,
    pipeline="FluxPipeline",
    name="FLUX.1",
    guidance="embedded",
    controlnet=True,
    references=True,
    ip_adapters=True,
    vae=True,
    inpainting_channels=384,
    lora_tensor_pattern=re.compile("single_transformer_blocks|single_blocks|double_blocks"),
    lora_metadata_words=("flux1", "flux-1", "flux.1"),
)
FLUX_KONTEXT = replace(
    FLUX,
    pipeline="FluxKontextPipeline",
    name="FLUX.1 Kontext",
    guidance_scale=2.5,
    inpainting=False,
    strength=False,
    controlnet=False,
    inpainting_channels=None,
    variant_of=FLUX.name,
)
STABLE_DIFFUSION_3 = replace(
    TRANSFORMER,
    pipeline="StableDiffusion3Pipeline",
    name="Stable Diffusion 3",
    guidance_scale=4.5,
    tokens=256,
    clip_skip=True,
    controlnet=True,
    vae=True,
    inpainting_channels=33,
    latent_upscaling=True,
    lora_tensor_pattern=re.compile("joint_blocks"),
    lora_metadata_words=("sd3", "stable-diffusion-3", "stable-diffusion-v3"),
)
FLUX2_KLEIN = replace(
    TRANSFORMER,
    pipeline="Flux2KleinPipeline",
    name="FLUX.2 klein",
    steps=4,
    guidance_scale=1.0,
    guidance="none",
    inpainting=False,
    strength=False,
    references=True,
    lora_tensor_pattern=re.compile("to_qkv_mlp_proj|stream_modulation"),
    lora_metadata_words=("flux2", "flux-2", "flux.2"),
)
Z_IMAGE = replace(
    TRANSFORMER,
    pipeline="ZImagePipeline",
    name="Z-Image",
    steps=9,
    guidance_scale=1.0,
    guidance_offset=1.0,
    step_cache=False,  # Its denoiser takes lists.
    controlnet=True,
    vae=True,
    lora_tensor_pattern=re.compile(r"(^|\.)layers\.|_layers_|(noise|context)_refiner"),
    lora_metadata_words=("z-image", "zimage"),
)
QWEN_IMAGE = replace(
    TRANSFORMER,
    pipeline="QwenImagePipeline",
    name="Qwen-Image",
    steps=50,
    guidance="true",
    guidance_argument="true_cfg_scale",
    guidance_scale=4.0,
    lora_tensor_pattern=re.compile(r"transformer_blocks[._]\d+[._](img|txt)_(mlp|mod)"),
    lora_metadata_words=("qwen",),
)
QWEN_IMAGE_EDIT = replace(
    QWEN_IMAGE,
    pipeline="QwenImageEditPipeline",
    name="Qwen-Image-Edit",
    text_to_image=False,
    inpainting=False,
    strength=False,
    variant_of=QWEN_IMAGE.name,
)
QWEN_IMAGE_EDIT_PLUS = replace(
    QWEN_IMAGE_EDIT, pipeline="QwenImageEditPlusPipeline", name="Qwen-Image-Edit Plus", steps=40, references=True
)
SANA = replace(
    TRANSFORMER,
    pipeline="SanaPipeline",
    name="Sana",
    steps=20,
    guidance_scale=4.5,
    sampler="DPM++ 2M",
    samplers=("DPM++ 2M", "Euler"),
    multiple=32,
    tokens=300,
    image_to_image=False,
    inpainting=False,
    strength=False,
    lora_tensor_pattern=re.compile(r"transformer_blocks[._]\d+[._]attn2"),
    lora_metadata_words=("sana",),
)

FAMILIES: dict[str, Family] = {
    family.pipeline: family
    for family in (
        STABLE_DIFFUSION,
        STABLE_DIFFUSION_XL,
        STABLE_DIFFUSION_3,
        FLUX,
        FLUX_KONTEXT,
        FLUX2_KLEIN,
        Z_IMAGE,
        QWEN_IMAGE,
        QWEN_IMAGE_EDIT,
        QWEN_IMAGE_EDIT_PLUS,
        SANA,
    )
}
