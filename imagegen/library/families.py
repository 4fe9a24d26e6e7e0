"""Architectures by the class of their pipeline: what each can do, and what it does when not told otherwise.

Nothing outside this table is ever loaded. Facts about the classes are those of diffusers 0.42.1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from imagegen.info import Guidance
from imagegen.schema import SamplerName

# Who makes embeddings of the prompt: we, for CLIP alone or in pairs; or the pipeline itself.
Prompts = Literal["clip", "clip pair", "pipeline"]
# How the latents lie at each step: (n, channels, height, width), or as rows of patches of 2 x 2.
Latents = Literal["planes", "packed"]

EVERY_SAMPLER: tuple[SamplerName, ...] = get_args(SamplerName)


@dataclass(frozen=True)
class Family:
    """`multiple`, `width`, `height` and `max_side` are in pixels, `tokens` is how long a prompt may be.

    `denoiser` names the component that each step calls, `from_image` whether it can start from a picture.
    """

    name: str
    denoiser: Literal["unet", "transformer"]
    width: int
    height: int
    max_side: int
    steps: int
    guidance_scale: float
    guidance: Guidance = "classifier-free"
    sampler: SamplerName = "Euler"
    samplers: tuple[SamplerName, ...] = ("Euler",)
    multiple: int = 16
    prompts: Prompts = "pipeline"
    tokens: int = 512
    latents: Latents = "planes"
    from_image: bool = True
    inpainting: bool = True
    strength: bool = True
    clip_skip: bool = False
    step_cache: bool = True
    loras: bool = True
    embeddings: bool = False

    @property
    def negative_prompt(self) -> bool:
        return self.guidance in ("classifier-free", "true")


STABLE_DIFFUSION = Family(
    name="Stable Diffusion",
    denoiser="unet",
    width=512,
    height=512,
    max_side=1024,
    steps=25,
    guidance_scale=7.5,
    sampler="DPM++ 2M Karras",
    samplers=EVERY_SAMPLER,
    multiple=8,
    prompts="clip",
    tokens=4000,
    clip_skip=True,
    embeddings=True,
)
FLUX = Family(
    name="FLUX.1",
    denoiser="transformer",
    width=1024,
    height=1024,
    max_side=2048,
    steps=28,
    guidance_scale=3.5,
    guidance="embedded",
    latents="packed",
)

FAMILIES: dict[str, Family] = {
    "StableDiffusionPipeline": STABLE_DIFFUSION,
    "StableDiffusionXLPipeline": replace(
        STABLE_DIFFUSION,
        name="Stable Diffusion XL",
        width=1024,
        height=1024,
        max_side=2048,
        steps=30,
        guidance_scale=5.0,
        prompts="clip pair",
    ),
    "StableDiffusion3Pipeline": replace(
        FLUX,
        name="Stable Diffusion 3",
        guidance="classifier-free",
        guidance_scale=4.5,
        tokens=256,
        latents="planes",
        clip_skip=True,
    ),
    "FluxPipeline": FLUX,
    "Flux2KleinPipeline": replace(
        FLUX,
        name="FLUX.2 klein",
        steps=4,
        guidance_scale=1.0,
        guidance="none",
        inpainting=False,
        strength=False,
    ),
    "ZImagePipeline": replace(
        FLUX,
        name="Z-Image",
        steps=9,
        guidance="classifier-free",
        guidance_scale=1.0,
        latents="planes",
        step_cache=False,  # Its denoiser takes lists.
    ),
    "QwenImagePipeline": replace(FLUX, name="Qwen-Image", steps=50, guidance="true", guidance_scale=4.0),
    "SanaPipeline": replace(
        FLUX,
        name="Sana",
        steps=20,
        guidance="classifier-free",
        guidance_scale=4.5,
        sampler="DPM++ 2M",
        samplers=("DPM++ 2M", "Euler"),
        multiple=32,
        tokens=300,
        latents="planes",
        from_image=False,
        inpainting=False,
    ),
}
