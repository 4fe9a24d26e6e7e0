"""The numbers that make the embedded model. Another size of model is another recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Seeds of the pictures to learn from start here; those of the pictures and prompts to be judged by start at 0.
FIRST_SEED = 1_000_000


@dataclass(frozen=True)
class Recipe:
    """Sizes in pixels, lengths in steps. `work` keeps what can be made again, and the states to go on from."""

    work: Path
    size: int = 128
    pictures: int = 36_000
    autoencoder_width: int = 48
    autoencoder_steps: int = 3078
    text_steps: int = 1_573
    channels: tuple[int, ...] = (96, 128, 192)
    denoiser_steps: int = 3_100
    decoder_steps: int = 2_000
    judge_steps: int = 900
    lora_pictures: int = 6_000
    encoder_steps: int = 400
    lora_steps: int = 900
