"""Tiny Stable Diffusion models: 1, 2 and XL."""

from __future__ import annotations

from typing import Any

from diffusers import (
    DDIMScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)

from tests.hub import autoencoders, encoders
from tests.hub.builders import amplify_parts, tiny

TRAINED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


@tiny
def stable_diffusion_1() -> Any:
    return _stable_diffusion(
        width=768,
        scheduler=PNDMScheduler(**TRAINED, skip_prk_steps=True),
        attention_head_dim=4,
    )


@tiny
def stable_diffusion_2() -> Any:
    return _stable_diffusion(
        width=1024,
        scheduler=DDIMScheduler(**TRAINED, clip_sample=False, set_alpha_to_one=False, prediction_type="v_prediction"),
        attention_head_dim=(2, 4, 4, 4),
        use_linear_projection=True,
    )


@tiny
def stable_diffusion_inpainting() -> Any:
    """A tiny Stable Diffusion 1 whose UNet also gets the mask, and the latents of the picture around it."""
    pipeline = _stable_diffusion(
        width=768,
        scheduler=PNDMScheduler(**TRAINED, skip_prk_steps=True),
        attention_head_dim=4,
        in_channels=9,
    )
    return StableDiffusionInpaintPipeline(**pipeline.components, requires_safety_checker=False)


def _stable_diffusion(width: int, scheduler: Any, **unet: Any) -> Any:
    """`width` is that of the text encoder."""
    tokenizer, text_encoder = encoders.clip(width)
    attentive = 3
    return StableDiffusionPipeline(
        vae=autoencoders.stable_diffusion(0.18215),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=with_attention(
            UNet2DConditionModel(
                block_out_channels=(8, 16, 16, 16),
                down_block_types=(*["CrossAttnDownBlock2D"] * attentive, "DownBlock2D"),
                up_block_types=("UpBlock2D", *["CrossAttnUpBlock2D"] * attentive),
                cross_attention_dim=width,
                norm_num_groups=4,
                sample_size=8,
                **unet,
            )
        ),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@tiny
def stable_diffusion_xl() -> Any:
    """A tiny SDXL. Its second text encoder has ten layers, by which single files are recognized."""
    tokenizer, text_encoder = encoders.clip(24, layers=2)
    _, text_encoder_2 = encoders.clip(40, layers=10, projected=True)
    return StableDiffusionXLPipeline(
        vae=autoencoders.stable_diffusion(0.13025),
        text_encoder=text_encoder,
        text_encoder_2=text_encoder_2,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=with_attention(
            UNet2DConditionModel(
                block_out_channels=(8, 16, 16),
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                transformer_layers_per_block=(1, 1, 2),
                attention_head_dim=(2, 4, 4),
                cross_attention_dim=64,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=40 + 6 * 8,
                use_linear_projection=True,
                norm_num_groups=4,
                sample_size=8,
            )
        ),
        scheduler=EulerDiscreteScheduler(**TRAINED, timestep_spacing="leading"),
        force_zeros_for_empty_prompt=True,
    )


def with_attention(unet: Any) -> Any:
    return amplify_parts(unet, "attn2.to_v", "attn2.to_out.0", "add_embedding", "conv_out", factor=4)
