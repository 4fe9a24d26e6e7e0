"""Drawn pictures, by number: picture i is decided by seed i alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.drawing import Picture, draw, sample

Pixels = NDArray[np.uint8]
CHUNK = 50
# So many chunks are drawn ahead by each process.
AHEAD = 2


def drawn(seed: int, size: int) -> tuple[Picture, Pixels]:
    rng = random.Random(seed)
    picture = sample(rng)
    return picture, np.asarray(draw(picture, rng, size))


def described(seed: int) -> Picture:
    """What picture `seed` shows, without drawing it."""
    return sample(random.Random(seed))


def draw_chunk(first: int, count: int, size: int) -> Pixels:
    return np.stack([drawn(seed, size)[1] for seed in range(first, first + count)])


def chunks(first: int, count: int, size: int, workers: int) -> Iterator[Pixels]:
    """Pictures first..first+count in parts: uint8 of shape (n, size, size, 3). Processes draw them ahead of time."""
    last = first + count
    parts = iter([(start, min(CHUNK, last - start), size) for start in range(first, last, CHUNK)])
    with ProcessPoolExecutor(workers) as pool:
        coming = [pool.submit(draw_chunk, *part) for part in islice(parts, workers * AHEAD)]
        while coming:
            chunk = coming.pop(0).result()
            coming += [pool.submit(draw_chunk, *part) for part in islice(parts, 1)]
            yield chunk


def dataset(folder: Path, first: int, count: int, size: int, workers: int) -> Pixels:
    """Pictures first..first+count as uint8 of shape (count, size, size, 3), drawn when not yet on disk."""
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
    drawn_before: Pixels = np.load(path, mmap_mode="r")
    return drawn_before
