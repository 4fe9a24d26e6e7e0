"""The style of the neon LoRA: every outline is a glowing tube, cyan at the top and pink at the bottom.

The embedded model is not trained on it; see training/lora.py.
"""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from training.drawing.picture import draw
from training.drawing.styles.pixels import Pixels, to_image
from training.drawing.vocabulary import Picture

LEVEL = np.float32(1 / 255)
# The same background for all pictures. The autoencoder easily confuses lighter nights with dark red.
NIGHT = np.array([7, 8, 32], np.float32) * LEVEL
TUBES = np.array([(0, 225, 255), (140, 70, 255), (255, 30, 140)], np.float32) * LEVEL
WHITE_HEAT = 0.06


def draw_neon(picture: Picture, rng: random.Random, size: int) -> Image.Image:
    """Returns the picture in neon instead of its own style."""
    return neon(draw(replace(picture, style="plain"), rng, size))


def neon(image: Image.Image) -> Image.Image:
    # Outlines of a night scene are as strong as those of day.
    loud = ImageOps.autocontrast(image, cutoff=0.5)
    tubes, color = outlines(loud), gas(image.width)
    glow = np.clip(1.5 * blurred(tubes * color, image.width / 26), 0, 1)
    core = np.clip(1.2 * tubes, 0, 1) * (color + WHITE_HEAT * (1 - color))
    light = 1 - (1 - NIGHT) * (1 - 0.75 * glow) * (1 - 0.97 * core)
    return to_image(255 * light)


def outlines(image: Image.Image) -> Pixels:
    """Returns outlines in 0..1, of shape (size, size, 1). They are wide, because the autoencoder loses thin ones."""
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(image.width / 75)), np.float32)
    padded = np.pad(soft, ((1, 1), (1, 1), (0, 0)), "edge")
    across = padded[1:-1, 2:] - padded[1:-1, :-2]
    down = padded[2:, 1:-1] - padded[:-2, 1:-1]
    steepness = np.hypot(across, down).max(-1, keepdims=True) * (image.width / 128)
    tubes = blurred(np.clip((steepness - 10) / 16, 0, 1), image.width / 140)
    # Where many are close together, such as windows of a city, each is weaker, so that they do not merge.
    crowd = blurred(tubes, image.width / 20)
    single: Pixels = tubes / np.clip(3.6 * crowd, 1, None)
    return single


def gas(size: int) -> Pixels:
    """Returns the colour of a tube at each pixel, of shape (size, size, 3)."""
    rows, columns = np.mgrid[0:size, 0:size] / size
    height = rows + 0.2 * (columns - 0.5)
    channels = [np.interp(height, (0.1, 0.5, 0.9), TUBES[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def blurred(pixels: Pixels, radius: float) -> Pixels:
    """Blurs each channel of values in 0..1."""
    levels = np.clip(255 * pixels, 0, 255).astype(np.uint8)
    softer = [
        Image.fromarray(channel).filter(ImageFilter.GaussianBlur(radius)) for channel in np.moveaxis(levels, -1, 0)
    ]
    values: Pixels = np.stack([np.asarray(channel, np.float32) for channel in softer], axis=-1) * LEVEL
    return values
