"""Small pictures of latents: fast enough to make one between two steps."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

# Pixels: keeps a preview under a millisecond. The page scales it up.
LARGEST_SIDE = 192
# A latent is the size of 8 x 8 pixels: no preview is larger than its picture.
LATENT_SIDE = 8
QUALITY = 80


@dataclass(frozen=True)
class Projection:
    """RGB = latent @ matrix + bias, in 0..1. The matrix is of shape (channels, 3), the bias of shape (3,)."""

    matrix: NDArray[np.float32]
    bias: NDArray[np.float32]

    def colours(self, latents: Tensor) -> NDArray[np.uint8]:
        """Of shape (n, 3, height, width), for latents of shape (n, channels, height, width)."""
        rows = latents.flatten(2).float().cpu().numpy()
        colours: NDArray[np.float32] = (self.matrix.T * 255) @ rows + (self.bias * 255)[:, None]
        return colours.clip(0, 255).astype(np.uint8).reshape(len(rows), 3, *latents.shape[2:])


def published(matrix: list[list[float]], bias: tuple[float, float, float] = (0, 0, 0)) -> Projection:
    """From figures that give RGB in -1..1."""
    return Projection(
        np.float32(0.5) * np.array(matrix, np.float32), np.float32(0.5) * (1 + np.array(bias, np.float32))
    )


# By the beginning of the pipeline's name, the longest first. Figures from ComfyUI, comfy/latent_formats.py, where
# they are fitted to latents as the denoiser sees them.
PUBLISHED = {
    "StableDiffusionXL": published(
        [[0.3651, 0.4232, 0.4341], [-0.2533, -0.0042, 0.1068], [0.1076, 0.1111, -0.0362], [-0.3165, -0.2492, -0.2188]],
        (0.1084, -0.0175, -0.0011),
    ),
    "StableDiffusion3": published(
        [
            [-0.0922, -0.0175, 0.0749],
            [0.0311, 0.0633, 0.0954],
            [0.1994, 0.0927, 0.0458],
            [0.0856, 0.0339, 0.0902],
            [0.0587, 0.0272, -0.0496],
            [-0.0006, 0.1104, 0.0309],
            [0.0978, 0.0306, 0.0427],
            [-0.0042, 0.1038, 0.1358],
            [-0.0194, 0.0020, 0.0669],
            [-0.0488, 0.0130, -0.0268],
            [0.0922, 0.0988, 0.0951],
            [-0.0278, 0.0524, -0.0542],
            [0.0332, 0.0456, 0.0895],
            [-0.0069, -0.0030, -0.0810],
            [-0.0596, -0.0465, -0.0293],
            [-0.1448, -0.1463, -0.1189],
        ],
        (0.2394, 0.2135, 0.1925),
    ),
    "Flux": published(
        [
            [-0.0346, 0.0244, 0.0681],
            [0.0034, 0.0210, 0.0687],
            [0.0275, -0.0668, -0.0433],
            [-0.0174, 0.0160, 0.0617],
            [0.0859, 0.0721, 0.0329],
            [0.0004, 0.0383, 0.0115],
            [0.0405, 0.0861, 0.0915],
            [-0.0236, -0.0185, -0.0259],
            [-0.0245, 0.0250, 0.1180],
            [0.1008, 0.0755, -0.0421],
            [-0.0515, 0.0201, 0.0011],
            [0.0428, -0.0012, -0.0036],
            [0.0817, 0.0765, 0.0749],
            [-0.1264, -0.0522, -0.1103],
            [-0.0280, -0.0881, -0.0499],
            [-0.1262, -0.0982, -0.0778],
        ],
        (-0.0329, -0.0718, -0.0851),
    ),
    "StableDiffusion": published(
        [[0.3512, 0.2297, 0.3227], [0.3250, 0.4974, 0.2350], [-0.2829, 0.1762, 0.2721], [-0.2120, -0.2616, -0.7177]]
    ),
}


# Its autoencoder is that of FLUX.1.
PUBLISHED["ZImage"] = PUBLISHED["Flux"]


def projection_for(folder: Path, pipeline: str, channels: int) -> Projection | None:
    """The model's own, from its preview.json; else that of its family; None when nothing is known of it."""
    own = folder / "preview.json"
    if own.is_file():
        fitted = json.loads(own.read_text(encoding="utf-8"))
        return Projection(np.array(fitted["matrix"], np.float32), np.array(fitted["bias"], np.float32))
    family = next((family for family in PUBLISHED if pipeline.startswith(family)), None)
    fits = family is not None and len(PUBLISHED[family].matrix) == channels
    return PUBLISHED[family] if family and fits else None


def preview(latents: Tensor, projection: Projection) -> str:
    """A JPEG in base64 of latents of shape (n, channels, height, width); several become one sheet."""
    count, _, height, width = latents.shape
    across = math.ceil(math.sqrt(count))
    thinned = latents[..., :: math.ceil(across * height / LARGEST_SIDE), :: math.ceil(across * width / LARGEST_SIDE)]
    image = Image.fromarray(sheet(projection.colours(thinned), across))
    scale = min(LATENT_SIDE, LARGEST_SIDE / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    buffer = BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(buffer, format="JPEG", quality=QUALITY)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def sheet(pictures: NDArray[np.uint8], across: int) -> NDArray[np.uint8]:
    """Pictures of shape (n, 3, height, width) row by row in one of shape (rows * height, across * width, 3)."""
    count, _, height, width = pictures.shape
    down = math.ceil(count / across)
    cells = np.zeros((down * across, 3, height, width), np.uint8)
    cells[:count] = pictures
    rows = cells.reshape(down, across, 3, height, width).transpose(0, 3, 1, 4, 2)
    return rows.reshape(down * height, across * width, 3)


def latent_channels(vae: Any) -> int:
    return int(vae.config.get("latent_channels") or vae.config.get("z_dim"))
