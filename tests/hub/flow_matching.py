"""Tiny models of the families whose denoiser is a flow-matching transformer."""

from __future__ import annotations

from functools import partial
from typing import Any

from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    FluxFillPipeline,
    FluxKontextPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImageEditPipeline,
    QwenImageEditPlusPipeline,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SanaPipeline,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from transformers import Qwen3ForCausalLM, Qwen3Model
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from imagegen.engine.families.picture_processor import PictureProcessor
from tests.hub import autoencoders, encoders
from tests.hub.builders import amplify_parts, tiny, with_class

with_processor = partial(with_class, component="processor", name="Qwen2VLProcessor")
# 2 attention heads of width 16.
HEADS: dict[str, Any] = {"num_attention_heads": 2, "attention_head_dim": 16}
LAYERS: dict[str, Any] = {"num_layers": 2, "num_single_layers": 2}


@tiny
def stable_diffusion_3() -> Any:
    tokenizer, text_encoder = encoders.clip(24, layers=2, projected=True)
    tokenizer_2, text_encoder_2 = encoders.clip(40, layers=2, projected=True)
    tokenizer_3, text_encoder_3 = encoders.t5(64)
    return StableDiffusion3Pipeline(
        transformer=attentive(
            SD3Transformer2DModel(
                **HEADS,
                sample_size=8,
                num_layers=2,
                joint_attention_dim=64,
                caption_projection_dim=32,
                pooled_projection_dim=64,
            )
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoders.flow(1.5305, 0.0609),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        text_encoder_2=text_encoder_2,
        tokenizer_2=tokenizer_2,
        text_encoder_3=text_encoder_3,
        tokenizer_3=tokenizer_3,
    )


@tiny
def flux_dev() -> Any:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    return _flux(scheduler, guidance_embeds=True)


@tiny
def flux_schnell() -> Any:
    return _flux(FlowMatchEulerDiscreteScheduler(shift=1.0), guidance_embeds=False)


@tiny
def flux_fill() -> Any:
    """A tiny FLUX.1 Fill, whose transformer also gets the mask, and the latents of the picture around it."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    components = _flux(scheduler, guidance_embeds=True, in_channels=384, out_channels=64).components
    return FluxFillPipeline(**{name: part for name, part in components.items() if part is not None})


@tiny
def flux_kontext() -> Any:
    """A tiny FLUX.1 Kontext, which edits pictures."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    components = _flux(scheduler, guidance_embeds=True).components
    return FluxKontextPipeline(**{name: part for name, part in components.items() if part is not None})


def _flux(scheduler: Any, *, guidance_embeds: bool, **transformer: Any) -> Any:
    tokenizer, text_encoder = encoders.clip(24)
    tokenizer_2, text_encoder_2 = encoders.t5(32)
    return FluxPipeline(
        scheduler=scheduler,
        vae=autoencoders.flow(0.3611, 0.1159),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        text_encoder_2=text_encoder_2,
        tokenizer_2=tokenizer_2,
        transformer=attentive(
            FluxTransformer2DModel(
                **HEADS,
                **LAYERS,
                **transformer,
                joint_attention_dim=32,
                pooled_projection_dim=24,
                guidance_embeds=guidance_embeds,
                axes_dims_rope=(4, 6, 6),
            )
        ),
    )


@tiny
def flux2_klein() -> Any:
    """A tiny FLUX.2 klein. Its text encoder has 27 layers, because the pipeline reads the output of the 27th."""
    tokenizer, text_encoder = encoders.qwen3(Qwen3ForCausalLM, width=16, layers=28)
    return Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=autoencoders.flux2(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        transformer=attentive(
            Flux2Transformer2DModel(
                **HEADS,
                **LAYERS,
                joint_attention_dim=3 * 16,
                axes_dims_rope=(4, 4, 4, 4),
                guidance_embeds=False,
            )
        ),
        is_distilled=True,
    )


@tiny
def z_image() -> Any:
    tokenizer, text_encoder = encoders.qwen3(Qwen3Model, width=32, layers=2)
    return ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoders.flow(0.3611, 0.1159),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        transformer=attentive(
            ZImageTransformer2DModel(
                dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=32, axes_dims=[4, 6, 6]
            )
        ),
    )


@tiny
def qwen_image() -> Any:
    return QwenImagePipeline(**_qwen_components(sees=False))


def _qwen_components(*, sees: bool, **transformer: Any) -> dict[str, Any]:
    """Returns the components that all pipelines of Qwen-Image have. `sees`: the text encoder gets pictures."""
    tokenizer, text_encoder = encoders.qwen2_vision(16, sees=sees)
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02
        ),
        "vae": autoencoders.qwen_image_edit() if sees else autoencoders.qwen_image(),
        "text_encoder": text_encoder,
        "tokenizer": tokenizer,
        "transformer": attentive(
            QwenImageTransformer2DModel(
                **HEADS, **transformer, num_layers=2, joint_attention_dim=16, axes_dims_rope=(4, 6, 6)
            )
        ),
    }


def _qwen_edit(pipeline_class: Any, **transformer: Any) -> Any:
    """Returns a tiny Qwen-Image-Edit."""
    components = _qwen_components(sees=True, **transformer)
    processor = PictureProcessor(Qwen2VLImageProcessorPil(), components["tokenizer"])
    return pipeline_class(processor=processor, **components)


@with_processor
@tiny
def qwen_image_edit() -> Any:
    return _qwen_edit(QwenImageEditPipeline)


@with_processor
@tiny
def qwen_image_edit_plus() -> Any:
    """A tiny Qwen-Image-Edit 2511: for its denoiser, the pictures that it looks at are at the end of their steps."""
    return _qwen_edit(QwenImageEditPlusPipeline, zero_cond_t=True)


@tiny
def sana() -> Any:
    """A tiny Sana for 512 pixels: the pipeline draws at its model's size and scales to the requested one."""
    tokenizer, text_encoder = encoders.gemma2(16)
    return SanaPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=autoencoders.sana(),
        transformer=amplify_parts(
            SanaTransformer2DModel(
                num_attention_heads=4,
                attention_head_dim=8,
                num_layers=2,
                num_cross_attention_heads=2,
                cross_attention_head_dim=16,
                cross_attention_dim=32,
                caption_channels=16,
                sample_size=16,
            ),
            "attn2.to_v",
            "attn2.to_out.0",
            factor=4,
        ),
        scheduler=DPMSolverMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
    )


def attentive(transformer: Any) -> Any:
    """Amplifies attention, for models in which picture and text attend to each other."""
    parts = ("to_v", "add_v_proj", "norm_k", "norm_added_k", "to_out.0", "text_embedder.linear_2")
    return amplify_parts(transformer, *parts, factor=6)
