"""The numbers that make a model: what a GPU does in minutes, and what a small machine can do, in two sizes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Seeds of the pictures to learn from start here; those of the pictures and prompts to be judged by start at 0.
FIRST_SEED = 1_000_000


@dataclass(frozen=True)
class Recipe:
    """Sizes in pixels, lengths in steps, batches in pictures or crops of them.

    `work` keeps what can be made again, and the states to go on from; `begin` is a model to begin with, if any.
    The autoencoder learns from the first `painted` of the `pictures`, which stay on disk.
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

    @property
    def lessons(self) -> str:
        """What the denoiser learns with: another text encoder or autoencoder is another lesson."""
        return f"{self.text_steps}-{self.autoencoder_steps}"


RECIPES = {
    # What two cores do in some hours, beginning with the model that is there.
    "small": Recipe(),
    # What a GPU of the class of an H100 does in half an hour.
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
    ),
    # Nothing worth looking at, but every stage of it, to see that it runs.
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
    ),
}
