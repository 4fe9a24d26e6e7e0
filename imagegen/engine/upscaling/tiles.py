"""Cuts a picture into tiles that overlap, so that a network sees around each tile what decides its edge."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from imagegen.schema.sizes import Size

# Pixels of the longest side of a tile with its margins, by the type of the device. Larger ones take more memory, and
# other jobs wait longer between two tiles.
TILE_SIDES = {"cuda": 512}
DEFAULT_TILE_SIDE = 192
# The widest margin. What is further away has little effect, even in networks that reach further.
MAX_MARGIN = 40

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Tile:
    """Boxes of left, top, right and bottom in pixels: what the network gets, and the part of it that is kept."""

    seen: Box
    kept: Box


def plan_tiles(size: Size, side: int, radius: int, multiple: int = 1) -> list[Tile]:
    """Returns tiles whose kept parts cover a picture, from top to bottom.

    A tile has at most `side` pixels a side. Margins are as wide as `radius`, up to MAX_MARGIN; at the edges of the
    picture there are none. Boxes begin at multiples of `multiple`.
    """
    margin = round_up(min(radius, MAX_MARGIN), multiple)
    columns, rows = (list(split_side(length, side, margin, multiple)) for length in size)
    return [
        Tile((left[0], top[0], left[3], top[3]), (left[1], top[1], left[2], top[2])) for top in rows for left in columns
    ]


def split_side(length: int, side: int, margin: int, multiple: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields where each part begins with its margin, begins, ends, and ends with its margin."""
    if length <= side:
        yield 0, 0, length, length
        return
    count = math.ceil(length / max(side - 2 * margin, multiple))
    step = round_up(math.ceil(length / count), multiple)
    for start in range(0, length, step):
        end = min(start + step, length)
        yield max(0, start - margin), start, end, min(length, end + margin)


def round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
