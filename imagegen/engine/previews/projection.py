"""Projects latents to RGB for small previews, fast enough to render one between two steps, and renders previews.

The figures are those of the family (`preview_projection` in its file of engine/families) or of the model's
`preview.json`.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

# In pixels. Keeps rendering under a millisecond; the page scales previews up.
MAX_PREVIEW_SIDE = 192
# A latent stands for 8 x 8 pixels. Previews are not scaled up beyond that.
PIXELS_PER_LATENT = 8
JPEG_QUALITY = 80

Compose = Callable[[Image.Image, int], Image.Image]


class LatentColours(Protocol):
    """What makes pictures of latents for previews.

    A preview has at most `max_side` pixels along a side, and at most `enlargement` pixels for one of `to_rgb`.
    """

    @property
    def max_side(self) -> int: ...

    @property
    def enlargement(self) -> int: ...

    def to_rgb(self, latents: Tensor, columns: int) -> NDArray[np.uint8]:
        """Returns pictures of shape (n, 3, height, width), of which `columns` will be beside one another."""


@dataclass(frozen=True)
class Projection:
    """RGB = latent @ matrix + bias, in 0..1. The matrix is of shape (channels, 3), the bias of shape (3,)."""

    matrix: NDArray[np.float32]
    bias: NDArray[np.float32]

    @property
    def max_side(self) -> int:
        return MAX_PREVIEW_SIDE

    @property
    def enlargement(self) -> int:
        return PIXELS_PER_LATENT

    def to_rgb(self, latents: Tensor, columns: int) -> NDArray[np.uint8]:
        """Returns the colours of latents of shape (n, channels, height, width), leaving out rows and columns of those
        that are larger than a preview.
        """
        down, across = (math.ceil(columns * side / MAX_PREVIEW_SIDE) for side in latents.shape[2:])
        kept = latents[..., ::down, ::across]
        rows = kept.flatten(2).float().cpu().numpy()
        rgb: NDArray[np.float32] = (self.matrix.T * 255) @ rows + (self.bias * 255)[:, None]
        return rgb.clip(0, 255).astype(np.uint8).reshape(len(rows), 3, *kept.shape[2:])


def build_projection(matrix: list[list[float]], bias: tuple[float, float, float] = (0, 0, 0)) -> Projection:
    """Returns the projection for figures that give RGB in -1..1.

    The figures of the families are from ComfyUI, comfy/latent_formats.py, which are fitted to latents as the denoiser
    gets them.
    """
    return Projection(
        np.float32(0.5) * np.array(matrix, np.float32), np.float32(0.5) * (1 + np.array(bias, np.float32))
    )


def find_projection(folder: Path, published: Projection | None, channels: int) -> Projection | None:
    """Returns the projection for a model, or None if no figures are known for it.

    That is the one in the model's own `preview.json`, else the one published for its family, if it is for latents with
    as many `channels`.
    """
    preview_file = folder / "preview.json"
    if preview_file.is_file():
        values = json.loads(preview_file.read_text(encoding="utf-8"))
        return Projection(np.array(values["matrix"], np.float32), np.array(values["bias"], np.float32))
    return published if published is not None and len(published.matrix) == channels else None


def render_latent_preview(latents: Tensor, source: LatentColours, compose: Compose | None = None) -> str:
    """Returns a JPEG in base64 of latents of shape (n, channels, height, width); several become tiles of one.

    With `compose`, each tile is what it returns for the picture of the latents and the most pixels along a side.
    """
    columns = choose_columns(len(latents))
    colours = source.to_rgb(latents, columns)
    if compose is not None:
        composed = [compose(Image.fromarray(each.transpose(1, 2, 0)), source.max_side // columns) for each in colours]
        colours = np.stack([np.asarray(each).transpose(2, 0, 1) for each in composed])
    image = Image.fromarray(tile_images(colours, columns))
    scale = min(1 if compose is not None else source.enlargement, source.max_side / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    buffer = BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def choose_columns(count: int) -> int:
    """Returns how many pictures are in a row: about as many as there are rows, without a gap if one more avoids it."""
    least = math.ceil(math.sqrt(count))
    return next((columns for columns in (least, least + 1) if count % columns == 0), least)


def tile_images(images: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Returns pictures of shape (n, 3, height, width) as tiles of one, of shape (rows * height, columns * width, 3)."""
    count, _, height, width = images.shape
    row_count = math.ceil(count / columns)
    cells = np.zeros((row_count * columns, 3, height, width), np.uint8)
    cells[:count] = images
    rows = cells.reshape(row_count, columns, 3, height, width).transpose(0, 3, 1, 4, 2)
    return rows.reshape(row_count * height, columns * width, 3)
