"""The sizes and step counts of a training: a small one for a CPU, a large one for a GPU, and a toy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Pictures for training have seeds from here on; those for scoring have seeds from 0 on.
FIRST_SEED = 1_000_000


@dataclass(frozen=True)
class Recipe:
    """Sizes in pixels, lengths in steps, batches in pictures or crops.

    `work` is the folder for intermediate data and states; `begin` is a model whose weights to start from, if any.
    The autoencoder is trained on the first `painted` of the `pictures`, which stay on disk.
    """

    work: Path = Path("build/training")
    begin: Path | None = None
    size: int = 256
    pictures: int = 40_000
    painted: int = 12_000
    autoencoder_width: int = 48
    autoencoder_steps: int = 3_500
    autoencoder_batch: int = 16
    text_width: int = 128
    text_steps: int = 1_600
    channels: tuple[int, ...] = (64, 96, 128, 192)
    attentive: int = 2
    beta_end: float = 0.0215
    denoiser_steps: int = 4_700
    denoiser_batch: int = 64
    denoiser_peak: float = 1e-3
    decoder_steps: int = 2_000
    judge_steps: int = 1_500
    lora_pictures: int = 6_000
    encoder_steps: int = 400
    lora_steps: int = 900
    lora_batch: int = 32
    fast_steps: int = 240
    fast_batch: int = 32
    upscaler_features: int = 40
    upscaler_blocks: int = 10
    upscaler_drawings: int = 600
    upscaler_emoji: int = 1_800
    upscaler_steps: int = 9_000
    upscaler_batch: int = 16
    upscaler_refit_batches: int = 80
    controlnet_pictures: int = 6_000
    controlnet_fit_steps: int = 60
    controlnet_steps: int = 1_500
    controlnet_batch: int = 8

    @property
    def denoiser_inputs_key(self) -> str:
        """A key of the denoiser's inputs: other text encoders or autoencoders need another training."""
        return f"{self.text_steps}-{self.autoencoder_steps}"


RECIPES = {
    # For two cores in some hours, starting from the existing model.
    "small": Recipe(),
    # For a GPU such as an H100 in half an hour.
    "large": Recipe(
        size=512,
        pictures=40_000,
        painted=8_000,
        autoencoder_width=64,
        autoencoder_steps=4_000,
        autoencoder_batch=64,
        text_width=192,
        text_steps=2_000,
        channels=(80, 160, 240, 320),
        attentive=3,
        beta_end=0.025,
        denoiser_steps=3_000,
        denoiser_batch=256,
        decoder_steps=3_000,
        judge_steps=4_000,
        lora_batch=64,
        fast_steps=400,
        fast_batch=64,
        upscaler_drawings=2_000,
        upscaler_emoji=6_000,
        upscaler_steps=40_000,
        upscaler_batch=32,
        controlnet_pictures=20_000,
        controlnet_steps=6_000,
        controlnet_batch=64,
    ),
    # Runs every stage in a minute, without a useful result.
    "toy": Recipe(
        size=64,
        pictures=120,
        painted=100,
        autoencoder_width=16,
        autoencoder_steps=8,
        text_width=32,
        text_steps=6,
        channels=(32, 48, 64, 96),
        attentive=3,
        denoiser_steps=6,
        denoiser_batch=8,
        decoder_steps=3,
        judge_steps=2,
        lora_pictures=50,
        encoder_steps=5,
        lora_steps=5,
        lora_batch=4,
        fast_steps=5,
        fast_batch=4,
        upscaler_features=8,
        upscaler_blocks=1,
        upscaler_drawings=4,
        upscaler_emoji=60,
        upscaler_steps=5,
        upscaler_batch=4,
        upscaler_refit_batches=2,
        controlnet_pictures=60,
        controlnet_fit_steps=5,
        controlnet_steps=3,
        controlnet_batch=4,
    ),
}
