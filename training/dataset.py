"""Drawn pictures by number: picture i depends on seed i alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.drawing.picture import draw
from training.drawing.sampling import sample
from training.drawing.vocabulary import Picture

Pixels = NDArray[np.uint8]
CHUNK = 50
# Chunks that each process draws ahead.
AHEAD = 2


def draw_example(seed: int, size: int) -> tuple[Picture, Pixels]:
    rng = random.Random(seed)
    """Returns a picture's description and its pixels: uint8 of shape (size, size, 3)."""
    picture = sample(rng)
    return picture, np.asarray(draw(picture, rng, size))


def sample_picture(seed: int) -> Picture:
    """Returns the description of picture `seed`, without drawing it."""
    return sample(random.Random(seed))


def draw_chunk(first: int, count: int, size: int) -> Pixels:
    return np.stack([draw_example(seed, size)[1] for seed in range(first, first + count)])


def chunks(first: int, count: int, size: int, workers: int) -> Iterator[Pixels]:
    """Yields pictures first..first+count in parts: uint8 of shape (n, size, size, 3), drawn ahead in processes."""
    last = first + count
    parts = iter([(start, min(CHUNK, last - start), size) for start in range(first, last, CHUNK)])
    with ProcessPoolExecutor(workers) as pool:
        pending = [pool.submit(draw_chunk, *part) for part in islice(parts, workers * AHEAD)]
        while pending:
            chunk = pending.pop(0).result()
            pending += [pool.submit(draw_chunk, *part) for part in islice(parts, 1)]
            yield chunk


def dataset(folder: Path, first: int, count: int, size: int, workers: int) -> Pixels:
    """Returns pictures first..first+count as uint8 of shape (count, size, size, 3).

    Draws them unless they are on disk.
    """
    path = folder / f"pictures-{first}-{count}-{size}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        pictures = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=(count, size, size, 3))
        done = 0
        for chunk in chunks(first, count, size, workers):
            pictures[done : done + len(chunk)] = chunk
            done += len(chunk)
        pictures.flush()
        partial.rename(path)
    stored: Pixels = np.load(path, mmap_mode="r")
    return stored
