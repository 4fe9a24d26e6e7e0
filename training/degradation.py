"""Makes small pictures out of large ones, as badly as pictures that users have."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from training.dataset import Pixels

FILTERS = (
    Image.Resampling.BOX,
    Image.Resampling.BILINEAR,
    Image.Resampling.HAMMING,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
)
# The share of pictures that are made smaller and nothing else.
CLEAN_SHARE = 0.4
BLUR_SHARE, NOISE_SHARE, JPEG_SHARE = 0.5, 0.4, 0.5
# In pixels of the large picture; in levels of 255; the quality of JPEG.
MAX_BLUR, MAX_NOISE, JPEG_QUALITY = 3.0, 8.0, (55, 95)


def degrade(pixels: Pixels, scale: int, rng: np.random.Generator, is_clean: bool | None = None) -> Pixels:
    """Returns a picture of shape (height / scale, width / scale, 3) for one of shape (height, width, 3)."""
    image = Image.fromarray(pixels)
    if is_clean is None:
        is_clean = bool(rng.random() < CLEAN_SHARE)
    if not is_clean and rng.random() < BLUR_SHARE:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, MAX_BLUR)))
    size = image.width // scale, image.height // scale
    small = image.resize(size, FILTERS[int(rng.integers(len(FILTERS)))])
    if is_clean:
        return np.asarray(small)
    if rng.random() < NOISE_SHARE:
        small = Image.fromarray(add_noise(np.asarray(small), rng))
    if rng.random() < JPEG_SHARE:
        buffer = BytesIO()
        small.save(buffer, "JPEG", quality=int(rng.integers(*JPEG_QUALITY)))
        small = Image.open(buffer)
    return np.asarray(small.convert("RGB"))


def add_noise(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Returns the picture with noise of a random strength, the same for all channels or of its own for each."""
    channels = 1 if rng.random() < 0.5 else 3
    noise: NDArray[np.float64] = rng.normal(0, rng.uniform(0.5, MAX_NOISE), (*pixels.shape[:2], channels))
    return np.clip(np.round(pixels + noise), 0, 255).astype(np.uint8)
