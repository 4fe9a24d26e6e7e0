"""The drawn pictures as one array on disk. Picture i is decided by seed i alone."""

from __future__ import annotations

import random
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.drawing import Picture, draw, sample

Pixels = NDArray[np.uint8]
CHUNK = 500


def drawn(seed: int, size: int) -> tuple[Picture, Pixels]:
    rng = random.Random(seed)
    picture = sample(rng)
    return picture, np.asarray(draw(picture, rng, size))


def described(seed: int) -> Picture:
    """What picture `seed` shows, without drawing it."""
    return sample(random.Random(seed))


def dataset(folder: Path, first: int, count: int, size: int) -> Pixels:
    """Pictures first..first+count as uint8 of shape (count, size, size, 3), drawn when not yet on disk."""
    path = folder / f"pictures-{first}-{count}-{size}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        pictures = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=(count, size, size, 3))
        starts = range(first, first + count, CHUNK)
        with ProcessPoolExecutor() as pool:
            for start, chunk in zip(starts, pool.map(draw_chunk, starts, [size] * len(starts)), strict=True):
                part = pictures[start - first : start - first + CHUNK]
                part[:] = chunk[: len(part)]
        pictures.flush()
        partial.rename(path)
    drawn_before: Pixels = np.load(path)
    return drawn_before


def draw_chunk(start: int, size: int) -> Pixels:
    return np.stack([drawn(seed, size)[1] for seed in range(start, start + CHUNK)])
