"""Edge maps of drawings: how they are made, how they are stored, and how maps for training differ from them.

A user's map may be the exact edges of a picture, or a scribble: thick and crooked lines, of which some are missing. All
maps are white on black.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderTiny
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn import functional as F

from imagegen.media.control_maps.canny import find_edges
from training.autoencoder import encode_pictures
from training.dataset import Pixels, chunks
from training.machine import Machine
from training.recipe import FIRST_SEED, Recipe

Edges = NDArray[np.bool_]
# Drawings that are encoded before they are saved.
PART = 500
# Canny's lower thresholds of the edges for training; the upper ones are twice as high.
THRESHOLDS = (40, 140)
# The blur in pixels, and the thresholds, that leave the outlines of things without the texture of a style.
OUTLINE_BLUR, OUTLINE_THRESHOLDS = 2.0, (60, 120)
# Shares of the maps for training: exact edges; of the others, outlines, bent, thick, incomplete and soft lines.
EXACT, OUTLINE, BENT, THICK, INCOMPLETE, SOFT = 0.4, 0.5, 0.6, 0.8, 0.4, 0.15
# The largest bend in pixels, as a deviation; the largest thickness added on each side.
LARGEST_BEND, LARGEST_RADIUS = 2.5, 3
# Points a side between which bends and gaps are interpolated.
BEND_POINTS, GAP_POINTS = 9, 12
# How much of a bent line's brightness a pixel needs to be part of the line.
LINE_LEVEL = 0.3


@dataclass(frozen=True)
class EdgeExamples:
    """Drawings for training: latents, float16 of shape (N, 4, h, w), and their edges and outlines as packed bits,
    uint8 of shape (N, size, size / 8).
    """

    latents: Tensor
    edges: NDArray[np.uint8]
    outlines: NDArray[np.uint8]


def load_or_make_examples(autoencoder: AutoencoderTiny, recipe: Recipe, machine: Machine) -> EdgeExamples:
    """Returns the first `recipe.controlnet_pictures` drawings of the training set.

    They are made in parts, which stay on disk. Raises OutOfTimeError between two parts.
    """
    folder, parts = recipe.work / f"edges-{recipe.size}", []
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, recipe.controlnet_pictures, PART):
        count = min(PART, recipe.controlnet_pictures - start)
        file = folder / f"{start}-{count}.pt"
        if not file.exists():
            machine.check_time()
            partial = file.with_suffix(".partial")
            torch.save(make_part(autoencoder, start, count, recipe.size, machine), partial)
            partial.rename(file)
        parts.append(torch.load(file, weights_only=True))
    latents, edges, outlines = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return EdgeExamples(latents, edges.numpy(), outlines.numpy())


def make_part(
    autoencoder: AutoencoderTiny, start: int, count: int, size: int, machine: Machine
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns latents, packed edges and packed outlines of the drawings start..start+count of the training set."""
    rng, latents, edges, outlines = np.random.default_rng((9, start)), [], [], []
    for part in chunks(FIRST_SEED + start, count, size, machine.workers):
        latents.append(encode_pictures(autoencoder, [part], machine))
        lows = rng.integers(*THRESHOLDS, size=len(part))
        edges += [find_edges(pixels, low, 2 * low) for pixels, low in zip(part, lows, strict=True)]
        outlines += [find_outlines(pixels) for pixels in part]
    packed_edges, packed_outlines = (np.packbits(np.stack(maps), axis=-1) for maps in (edges, outlines))
    return torch.cat(latents), torch.from_numpy(packed_edges), torch.from_numpy(packed_outlines)


def find_outlines(pixels: Pixels) -> Edges:
    """Returns the edges of the blurred picture: shape (h, w)."""
    blurred = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(OUTLINE_BLUR))
    return find_edges(np.asarray(blurred), *OUTLINE_THRESHOLDS)


def make_training_map(examples: EdgeExamples, index: int, rng: np.random.Generator) -> Tensor:
    """Returns a map of one drawing, exact or as drawn by hand: float32 of shape (3, size, size) in 0..1."""
    if rng.random() < EXACT:
        return to_map(unpack(examples.edges[index]))
    lines = to_lines(unpack((examples.outlines if rng.random() < OUTLINE else examples.edges)[index]))
    if rng.random() < BENT:
        lines = bend(lines, rng.uniform(0, LARGEST_BEND), rng)
    if rng.random() < THICK:
        lines = thicken(lines, int(rng.integers(1, LARGEST_RADIUS + 1)))
    if rng.random() < INCOMPLETE:
        lines = erase(lines, rng.uniform(0.1, 0.5), rng)
    if rng.random() < SOFT:
        lines = soften(lines)
    return lines.expand(3, -1, -1)


def make_scribble(outlines: Edges, rng: np.random.Generator) -> Tensor:
    """Returns outlines as drawn by hand, bent by a pixel or two and five pixels thick: (3, h, w) in 0..1."""
    return thicken(bend(to_lines(outlines), 1.0, rng), 2).expand(3, -1, -1)


def to_map(edges: Edges) -> Tensor:
    """Returns the map of edges of shape (h, w): float32 of shape (3, h, w) in 0..1."""
    return to_lines(edges).expand(3, -1, -1)


def to_lines(edges: Edges) -> Tensor:
    return torch.from_numpy(edges).float()[None]


def unpack(bits: NDArray[np.uint8]) -> Edges:
    return np.unpackbits(bits, axis=-1).astype(bool)


def bend(lines: Tensor, deviation: float, rng: np.random.Generator) -> Tensor:
    """Moves each part of lines of shape (1, h, w) by some pixels, with this standard deviation, smoothly."""
    side = lines.shape[-1]
    points = torch.from_numpy(rng.normal(0, 2 * deviation / side, (1, 2, BEND_POINTS, BEND_POINTS))).float()
    moves = F.interpolate(points, lines.shape[-2:], mode="bicubic", align_corners=True)
    straight = F.affine_grid(torch.eye(2, 3)[None], [1, 1, *lines.shape[-2:]], align_corners=False)
    moved = F.grid_sample(lines[None], straight + moves.permute(0, 2, 3, 1), align_corners=False)[0]
    return (moved > LINE_LEVEL).float()


def thicken(lines: Tensor, radius: int) -> Tensor:
    """Makes the lines thicker by `radius` pixels on each side."""
    return F.max_pool2d(lines, 2 * radius + 1, stride=1, padding=radius)


def erase(lines: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Erases the lines in spots that cover about this share of the picture."""
    points = torch.from_numpy(rng.random((1, 1, GAP_POINTS, GAP_POINTS))).float()
    field = F.interpolate(points, lines.shape[-2:], mode="bilinear", align_corners=True)[0]
    return lines * (field > field.flatten().quantile(share))


def soften(lines: Tensor) -> Tensor:
    """Blurs the lines, as filters for soft edges leave them."""
    blurred = F.avg_pool2d(F.avg_pool2d(lines[None], 3, 1, 1), 3, 1, 1)[0]
    return blurred / blurred.max().clamp(min=1e-3)
