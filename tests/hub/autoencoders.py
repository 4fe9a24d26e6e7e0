"""Autoencoders with thin layers and the real downscaling factors: 8, and Sana's 32."""

from __future__ import annotations

from typing import Any

from diffusers import AutoencoderDC, AutoencoderKL, AutoencoderKLFlux2, AutoencoderKLQwenImage

from tests.hub.builders import amplify

THIN: dict[str, Any] = {
    "block_out_channels": (8, 8, 16, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "norm_num_groups": 4,
    "sample_size": 64,
}


def stable_diffusion(scaling_factor: float, shift_factor: float | None = None) -> Any:
    return contrasted(
        AutoencoderKL(**THIN, latent_channels=4, scaling_factor=scaling_factor, shift_factor=shift_factor)
    )


def flow(scaling_factor: float, shift_factor: float) -> Any:
    """The autoencoder of SD 3, FLUX.1 and Z-Image."""
    return contrasted(
        AutoencoderKL(
            **THIN,
            latent_channels=16,
            scaling_factor=scaling_factor,
            shift_factor=shift_factor,
            use_quant_conv=False,
            use_post_quant_conv=False,
        )
    )


def flux2() -> Any:
    return contrasted(AutoencoderKLFlux2(**THIN, latent_channels=32))


def qwen_image() -> Any:
    return contrasted(AutoencoderKLQwenImage(base_dim=4, dim_mult=[1, 2, 2, 2], num_res_blocks=1))


def qwen_image_edit() -> Any:
    """A thinner one, which encodes a million pixels for each picture."""
    return contrasted(AutoencoderKLQwenImage(base_dim=2, dim_mult=[1, 2, 4, 8], num_res_blocks=1))


def sana() -> Any:
    return contrasted(
        AutoencoderDC(
            attention_head_dim=4,
            encoder_block_types=("ResBlock",) * 3 + ("EfficientViTBlock",) * 3,
            decoder_block_types=("ResBlock",) * 3 + ("EfficientViTBlock",) * 3,
            encoder_block_out_channels=(4, 4, 8, 8, 16, 32),
            decoder_block_out_channels=(4, 4, 8, 8, 16, 32),
            encoder_layers_per_block=(1,) * 6,
            decoder_layers_per_block=(1,) * 6,
            downsample_block_type="Conv",
            upsample_block_type="interpolate",
            scaling_factor=0.41407,
        )
    )


def contrasted(model: Any) -> Any:
    """Amplifies the output layers, because untrained autoencoders draw only in shades of gray."""
    last = model.decoder.conv_out
    amplify(getattr(last, "conv", last), 1.5)
    return model
