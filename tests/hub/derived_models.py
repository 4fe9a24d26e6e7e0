"""Tiny models of text-to-image pipelines that have no row in the table of families."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from diffusers import (
    AdaptiveProjectedMixGuidance,
    AuraFlowPipeline,
    AuraFlowTransformer2DModel,
    AutoencoderKLHunyuanImage,
    AutoencoderKLQwenImage21,
    AutoencoderKLWan,
    BriaFibo2Pipeline,
    BriaFibo2Transformer2DModel,
    BriaFiboPipeline,
    BriaFiboTransformer2DModel,
    BriaPipeline,
    BriaTransformer2DModel,
    ChromaPipeline,
    ChromaTransformer2DModel,
    CogVideoXDDIMScheduler,
    CogView3PlusPipeline,
    CogView3PlusTransformer2DModel,
    CogView4Pipeline,
    CogView4Transformer2DModel,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    ErnieImagePipeline,
    ErnieImageTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    Flux2Pipeline,
    Flux2Transformer2DModel,
    HiDreamImagePipeline,
    HiDreamImageTransformer2DModel,
    HunyuanDiT2DModel,
    HunyuanDiTPipeline,
    HunyuanImagePipeline,
    HunyuanImageTransformer2DModel,
    Krea2Pipeline,
    Krea2Transformer2DModel,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    LongCatImagePipeline,
    LongCatImageTransformer2DModel,
    Lumina2Pipeline,
    Lumina2Transformer2DModel,
    LuminaNextDiT2DModel,
    LuminaPipeline,
    NucleusMoEImagePipeline,
    NucleusMoEImageTransformer2DModel,
    OvisImagePipeline,
    OvisImageTransformer2DModel,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    QwenImage21Pipeline,
    QwenImage21Transformer2DModel,
    SanaSprintPipeline,
    SanaTransformer2DModel,
    SCMScheduler,
    UNet2DConditionModel,
    ZImageOmniPipeline,
    ZImageTransformer2DModel,
)
from transformers import (
    Mistral3ForConditionalGeneration,
    Mistral3Model,
    Qwen3Model,
    Qwen3VLForConditionalGeneration,
    Qwen3VLModel,
    Siglip2VisionConfig,
    Siglip2VisionModel,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

from imagegen.engine.families.picture_processor import PictureProcessor
from tests.hub import autoencoders, encoders
from tests.hub.builders import Builder, amplify_parts, tiny, with_class

HEADS: dict[str, Any] = {"num_attention_heads": 2, "attention_head_dim": 16}
BOTH_LAYERS: dict[str, Any] = {"num_layers": 1, "num_single_layers": 1}
# The parts of a rotary embedding for heads of width 16.
AXES = (4, 6, 6)


def awake(model: Any) -> Any:
    """Initializes the layers that are zero before training, and amplifies what the prompt has an effect through."""
    parts = ("to_v", "add_v_proj", "to_out.0", "linear_v", "linear_out", "context_embedder", "text_embedder.linear_2")
    return amplify_parts(model, *parts, factor=4)


@torch.no_grad()
def with_experts(model: Any) -> Any:
    """Initializes the weights of experts, which diffusers leaves as they are in memory."""
    for parameter in model.parameters():
        if parameter.ndim == 3:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def flow_scheduler(**options: Any) -> Any:
    return FlowMatchEulerDiscreteScheduler(**{"shift": 3.0, **options})


def dynamic_scheduler() -> Any:
    return flow_scheduler(use_dynamic_shifting=True)


@tiny
def aura_flow() -> Any:
    tokenizer, text_encoder = encoders.umt5(32)
    return AuraFlowPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=autoencoders.stable_diffusion(0.13025),
        transformer=awake(
            AuraFlowTransformer2DModel(
                sample_size=8,
                num_mmdit_layers=1,
                num_single_dit_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=32,
                caption_projection_dim=32,
                pos_embed_max_size=64,
            )
        ),
        scheduler=flow_scheduler(),
    )


@tiny
def bria() -> Any:
    tokenizer, text_encoder = encoders.t5(32)
    return BriaPipeline(
        transformer=awake(
            BriaTransformer2DModel(in_channels=16, **HEADS, **BOTH_LAYERS, joint_attention_dim=32, axes_dims_rope=AXES)
        ),
        scheduler=dynamic_scheduler(),
        vae=autoencoders.stable_diffusion(0.13025, shift_factor=0.0),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
    )


@tiny
def bria_fibo() -> Any:
    tokenizer, text_encoder = encoders.smol_lm3(16)
    return BriaFiboPipeline(
        transformer=awake(
            BriaFiboTransformer2DModel(
                in_channels=16,
                **HEADS,
                **BOTH_LAYERS,
                joint_attention_dim=32,
                axes_dims_rope=AXES,
                text_encoder_dim=16,
            )
        ),
        scheduler=dynamic_scheduler(),
        vae=AutoencoderKLWan(
            base_dim=4,
            dim_mult=[1, 1, 2, 2],
            num_res_blocks=1,
            in_channels=12,
            out_channels=12,
            patch_size=2,
            is_residual=True,
            scale_factor_spatial=16,
        ),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
    )


@tiny
def chroma() -> Any:
    tokenizer, text_encoder = encoders.t5(32)
    return ChromaPipeline(
        scheduler=flow_scheduler(),
        vae=autoencoders.flow(0.3611, 0.1159),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        transformer=awake(
            ChromaTransformer2DModel(
                **HEADS,
                **BOTH_LAYERS,
                joint_attention_dim=32,
                axes_dims_rope=AXES,
                approximator_hidden_dim=16,
                approximator_layers=1,
            )
        ),
    )


@tiny
def cogview3_plus() -> Any:
    tokenizer, text_encoder = encoders.t5(32)
    return CogView3PlusPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=autoencoders.flow(0.13025, 0.0),
        transformer=awake(
            CogView3PlusTransformer2DModel(
                **HEADS,
                num_layers=2,
                text_embed_dim=32,
                time_embed_dim=16,
                condition_dim=8,
                pos_embed_max_size=32,
                sample_size=8,
            )
        ),
        scheduler=CogVideoXDDIMScheduler(timestep_spacing="trailing"),
    )


@tiny
def cogview4() -> Any:
    tokenizer, text_encoder = encoders.glm(32)
    return CogView4Pipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=autoencoders.flow(1.0, 0.0),
        transformer=awake(
            CogView4Transformer2DModel(
                **HEADS,
                num_layers=2,
                text_embed_dim=32,
                time_embed_dim=16,
                condition_dim=8,
                pos_embed_max_size=32,
                sample_size=8,
                rope_axes_dim=(8, 8),
            )
        ),
        scheduler=dynamic_scheduler(),
    )


@tiny
def ernie_image() -> Any:
    tokenizer, text_encoder = encoders.mistral3(Mistral3Model, 32)
    return ErnieImagePipeline(
        transformer=awake(
            ErnieImageTransformer2DModel(
                hidden_size=32,
                num_attention_heads=2,
                num_layers=2,
                ffn_hidden_size=32,
                text_in_dim=32,
                rope_axes_dim=AXES,
            )
        ),
        vae=autoencoders.flux2(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=flow_scheduler(),
        pe=None,
        pe_tokenizer=None,
    )


@tiny
def hidream_image() -> Any:
    tokenizer, text_encoder = encoders.clip(16, layers=2, projected=True, positions=128)
    tokenizer_2, text_encoder_2 = encoders.clip(16, layers=2, projected=True, positions=128)
    tokenizer_3, text_encoder_3 = encoders.t5(32)
    tokenizer_4, text_encoder_4 = encoders.llama(32)
    return HiDreamImagePipeline(
        scheduler=flow_scheduler(),
        vae=autoencoders.flow(0.3611, 0.1159),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        text_encoder_2=text_encoder_2,
        tokenizer_2=tokenizer_2,
        text_encoder_3=text_encoder_3,
        tokenizer_3=tokenizer_3,
        text_encoder_4=text_encoder_4,
        tokenizer_4=tokenizer_4,
        transformer=awake(
            HiDreamImageTransformer2DModel(
                patch_size=2,
                in_channels=16,
                out_channels=16,
                num_layers=1,
                num_single_layers=1,
                num_attention_heads=2,
                attention_head_dim=16,
                caption_channels=[32, 32],
                text_emb_dim=32,
                axes_dims_rope=AXES,
                max_resolution=(32, 32),
                llama_layers=[0, 1],
                force_inference_output=True,
            )
        ),
    )


@tiny
def hunyuan_dit() -> Any:
    tokenizer, text_encoder = encoders.bert(32)
    tokenizer_2, text_encoder_2 = encoders.t5(32)
    return HunyuanDiTPipeline(
        vae=autoencoders.stable_diffusion(0.13025),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        text_encoder_2=text_encoder_2,
        tokenizer_2=tokenizer_2,
        transformer=awake(
            HunyuanDiT2DModel(
                num_attention_heads=2,
                attention_head_dim=16,
                in_channels=4,
                patch_size=2,
                sample_size=16,
                hidden_size=32,
                num_layers=2,
                cross_attention_dim=32,
                cross_attention_dim_t5=32,
                pooled_projection_dim=16,
                text_len=77,
                text_len_t5=256,
                use_style_cond_and_image_meta_size=False,
            )
        ),
        scheduler=DDPMScheduler(beta_start=0.00085, beta_end=0.018, beta_schedule="scaled_linear"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@tiny
def hunyuan_image() -> Any:
    tokenizer, text_encoder = encoders.qwen2_vision(16)
    tokenizer_2, text_encoder_2 = encoders.byt5(16)
    return HunyuanImagePipeline(
        scheduler=flow_scheduler(),
        vae=AutoencoderKLHunyuanImage(
            in_channels=3,
            out_channels=3,
            latent_channels=8,
            block_out_channels=(32, 32, 32, 32, 32, 32),
            layers_per_block=1,
            spatial_compression_ratio=32,
            sample_size=64,
            scaling_factor=0.75,
        ),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        text_encoder_2=text_encoder_2,
        tokenizer_2=tokenizer_2,
        transformer=awake(
            HunyuanImageTransformer2DModel(
                in_channels=8,
                out_channels=8,
                **HEADS,
                **BOTH_LAYERS,
                num_refiner_layers=1,
                text_embed_dim=16,
                text_embed_2_dim=16,
                rope_axes_dim=(8, 8),
            )
        ),
        guider=AdaptiveProjectedMixGuidance(guidance_scale=3.5),
        ocr_guider=AdaptiveProjectedMixGuidance(guidance_scale=3.5),
    )


@tiny
def krea2() -> Any:
    tokenizer, text_encoder = encoders.qwen3_vision(Qwen3VLModel, 16, layers=2)
    return Krea2Pipeline(
        scheduler=dynamic_scheduler(),
        vae=autoencoders.qwen_image(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        transformer=awake(
            Krea2Transformer2DModel(
                **HEADS,
                num_layers=2,
                num_key_value_heads=1,
                intermediate_size=32,
                timestep_embed_dim=16,
                text_hidden_dim=16,
                num_text_layers=2,
                text_num_attention_heads=2,
                text_num_key_value_heads=2,
                text_intermediate_size=16,
                num_layerwise_text_blocks=1,
                num_refiner_text_blocks=1,
                axes_dims_rope=AXES,
            )
        ),
        text_encoder_select_layers=(1, 2),
    )


@tiny
def latent_consistency() -> Any:
    tokenizer, text_encoder = encoders.clip(32)
    return LatentConsistencyModelPipeline(
        vae=autoencoders.stable_diffusion(0.18215),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=awake(
            UNet2DConditionModel(
                block_out_channels=(8, 16),
                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
                layers_per_block=1,
                cross_attention_dim=32,
                attention_head_dim=4,
                norm_num_groups=4,
                sample_size=8,
                time_cond_proj_dim=16,
            )
        ),
        scheduler=LCMScheduler(beta_start=0.00085, beta_end=0.0120, beta_schedule="scaled_linear"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@tiny
def lumina() -> Any:
    tokenizer, text_encoder = encoders.gemma(32)
    return LuminaPipeline(
        transformer=awake(
            LuminaNextDiT2DModel(
                sample_size=8,
                hidden_size=32,
                num_layers=2,
                num_attention_heads=2,
                num_kv_heads=1,
                multiple_of=16,
                cross_attention_dim=32,
            )
        ),
        scheduler=flow_scheduler(),
        vae=autoencoders.stable_diffusion(0.13025),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
    )


@tiny
def lumina2() -> Any:
    tokenizer, text_encoder = encoders.gemma2(32)
    return Lumina2Pipeline(
        transformer=awake(
            Lumina2Transformer2DModel(
                sample_size=8,
                hidden_size=32,
                num_layers=2,
                num_refiner_layers=1,
                num_attention_heads=2,
                num_kv_heads=1,
                multiple_of=16,
                axes_dim_rope=AXES,
                axes_lens=(512, 32, 32),
                cap_feat_dim=32,
            )
        ),
        scheduler=flow_scheduler(),
        vae=autoencoders.flow(0.3611, 0.1159),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
    )


@tiny
def ovis_image() -> Any:
    tokenizer, text_encoder = encoders.qwen3(Qwen3Model, width=32, layers=2)
    return OvisImagePipeline(
        scheduler=dynamic_scheduler(),
        vae=autoencoders.flow(0.3611, 0.1159),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        transformer=awake(
            OvisImageTransformer2DModel(**HEADS, **BOTH_LAYERS, joint_attention_dim=32, axes_dims_rope=AXES)
        ),
    )


def _pixart(pipeline_class: Any, vae: Any) -> Any:
    tokenizer, text_encoder = encoders.t5(32)
    return pipeline_class(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=vae,
        transformer=awake(
            PixArtTransformer2DModel(
                **HEADS,
                num_layers=2,
                cross_attention_dim=32,
                caption_channels=32,
                sample_size=8,
                use_additional_conditions=False,
            )
        ),
        scheduler=DPMSolverMultistepScheduler(),
    )


@tiny
def pixart_alpha() -> Any:
    return _pixart(PixArtAlphaPipeline, autoencoders.stable_diffusion(0.18215))


@tiny
def pixart_sigma() -> Any:
    return _pixart(PixArtSigmaPipeline, autoencoders.stable_diffusion(0.13025))


@tiny
def sana_sprint() -> Any:
    tokenizer, text_encoder = encoders.gemma2(16)
    return SanaSprintPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=autoencoders.sana(),
        transformer=awake(
            SanaTransformer2DModel(
                num_attention_heads=4,
                attention_head_dim=8,
                num_layers=2,
                num_cross_attention_heads=2,
                cross_attention_head_dim=16,
                cross_attention_dim=32,
                caption_channels=16,
                sample_size=2,
                guidance_embeds=True,
                qk_norm="rms_norm_across_heads",
            )
        ),
        scheduler=SCMScheduler(prediction_type="trigflow", sigma_data=0.5),
    )


def _see(tokenizer: Any) -> Any:
    """Returns the processor of an encoder that can see."""
    size = {"shortest_edge": 256**2, "longest_edge": 4096**2}
    return PictureProcessor(Qwen2VLImageProcessorPil(patch_size=16, size=size), tokenizer, tokenizer.chat_template)


@partial(with_class, component="processor", name="Qwen3VLProcessor")
@tiny
def bria_fibo2() -> Any:
    """Its text encoder has 36 layers, because the pipeline reads the output of the 35th."""
    tokenizer, text_encoder = encoders.qwen3_vision(Qwen3VLForConditionalGeneration, 8, layers=36)
    return BriaFibo2Pipeline(
        transformer=awake(
            BriaFibo2Transformer2DModel(
                dim=32,
                n_layers=3,
                n_refiner_layers=1,
                n_heads=2,
                cap_feat_dim=24,
                injection_layer_ids=(0, 1, 2, 0, 1),
                perceiver_num_layers=1,
                min_num_gist_tokens=4,
                max_num_gist_tokens=8,
                gist_step=4,
                gist_min_text_len=4,
                gist_max_text_len=64,
                axes_dims=AXES,
                axes_lens=(2048, 64, 64),
            )
        ),
        scheduler=dynamic_scheduler(),
        vae=autoencoders.flux2(),
        text_encoder=text_encoder,
        processor=_see(tokenizer),
    )


@partial(with_class, component="tokenizer", name="PixtralProcessor")
@tiny
def flux2() -> Any:
    """Its text encoder has 30 layers, because the pipeline reads the output of the 30th."""
    tokenizer, text_encoder = encoders.mistral3(Mistral3ForConditionalGeneration, 16, layers=30)
    return Flux2Pipeline(
        scheduler=dynamic_scheduler(),
        vae=autoencoders.flux2(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        transformer=awake(
            Flux2Transformer2DModel(
                **HEADS, **BOTH_LAYERS, joint_attention_dim=48, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=True
            )
        ),
    )


@partial(with_class, component="text_processor", name="Qwen2VLProcessor")
@tiny
def longcat_image() -> Any:
    tokenizer, text_encoder = encoders.qwen2_vision(16, sees=True)
    return LongCatImagePipeline(
        scheduler=dynamic_scheduler(),
        vae=autoencoders.flow(0.3611, 0.1159),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        text_processor=_see(tokenizer),
        transformer=awake(
            LongCatImageTransformer2DModel(
                **HEADS, **BOTH_LAYERS, joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=AXES
            )
        ),
    )


@partial(with_class, component="processor", name="Qwen3VLProcessor")
@tiny
def nucleus_moe_image() -> Any:
    """Its text encoder has 9 layers, because the pipeline reads the output of the 8th from the end."""
    tokenizer, text_encoder = encoders.qwen3_vision(Qwen3VLForConditionalGeneration, 16, layers=9)
    return NucleusMoEImagePipeline(
        transformer=with_experts(
            NucleusMoEImageTransformer2DModel(
                **HEADS,
                num_layers=5,
                num_key_value_heads=1,
                joint_attention_dim=16,
                axes_dims_rope=AXES,
                mlp_ratio=6.0,
                num_experts=2,
                moe_intermediate_dim=16,
                capacity_factors=[2.0] * 5,
                out_channels=16,
            )
        ),
        scheduler=dynamic_scheduler(),
        vae=autoencoders.qwen_image(),
        text_encoder=text_encoder,
        processor=_see(tokenizer),
    )


@partial(with_class, component="processor", name="Qwen3VLProcessor")
@tiny
def qwen_image21() -> Any:
    tokenizer, text_encoder = encoders.qwen3_vision(Qwen3VLForConditionalGeneration, 16, layers=2)
    return QwenImage21Pipeline(
        scheduler=dynamic_scheduler(),
        vae=AutoencoderKLQwenImage21(base_dim=2, decoder_base_dim=2, dim_mult=[1, 1, 1, 2, 2], num_res_blocks=1),
        text_encoder=text_encoder,
        processor=_see(tokenizer),
        transformer=awake(
            QwenImage21Transformer2DModel(**HEADS, num_layers=2, context_in_dim=16, mlp_ratio=1, axes_dims_rope=AXES)
        ),
    )


@tiny
def z_image_omni() -> Any:
    tokenizer, text_encoder = encoders.qwen3(Qwen3Model, width=32, layers=2)
    siglip = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return ZImageOmniPipeline(
        scheduler=flow_scheduler(),
        vae=autoencoders.flow(0.3611, 0.1159),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        transformer=awake(
            ZImageTransformer2DModel(
                dim=32,
                n_layers=2,
                n_refiner_layers=1,
                n_heads=2,
                n_kv_heads=2,
                cap_feat_dim=32,
                siglip_feat_dim=16,
                axes_dims=[4, 6, 6],
            )
        ),
        siglip=Siglip2VisionModel(Siglip2VisionConfig(**siglip, num_patches=16)),
        siglip_processor=Siglip2ImageProcessorPil(),
    )


DERIVED: dict[str, Builder] = {
    "AuraFlowPipeline": aura_flow,
    "BriaFibo2Pipeline": bria_fibo2,
    "BriaFiboPipeline": bria_fibo,
    "BriaPipeline": bria,
    "ChromaPipeline": chroma,
    "CogView3PlusPipeline": cogview3_plus,
    "CogView4Pipeline": cogview4,
    "ErnieImagePipeline": ernie_image,
    "Flux2Pipeline": flux2,
    "HiDreamImagePipeline": hidream_image,
    "HunyuanDiTPipeline": hunyuan_dit,
    "HunyuanImagePipeline": hunyuan_image,
    "Krea2Pipeline": krea2,
    "LatentConsistencyModelPipeline": latent_consistency,
    "LongCatImagePipeline": longcat_image,
    "Lumina2Pipeline": lumina2,
    "LuminaPipeline": lumina,
    "NucleusMoEImagePipeline": nucleus_moe_image,
    "OvisImagePipeline": ovis_image,
    "PixArtAlphaPipeline": pixart_alpha,
    "PixArtSigmaPipeline": pixart_sigma,
    "QwenImage21Pipeline": qwen_image21,
    "SanaSprintPipeline": sana_sprint,
    "ZImageOmniPipeline": z_image_omni,
}
