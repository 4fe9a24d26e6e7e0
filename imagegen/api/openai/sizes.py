"""The size that a model makes for one that it cannot make."""

from __future__ import annotations

from imagegen.schema.field_types import MIN_SIDE
from imagegen.schema.models import Capabilities


def find_nearest_size(width: int, height: int, can: Capabilities) -> tuple[int, int]:
    """Returns width and height as they are if the model can make them, else the nearest size of the same shape.

    Both must be above 0. Of the sizes from 7/8 of the largest on, it is the one whose shape is nearest: where the
    largest side is 512, 1792x1024 becomes 504x288, which has the same shape, and not 512x296.
    """
    if is_possible(width, height, can):
        return width, height
    step, long, short = can.multiple, max(width, height), min(width, height)
    smallest, largest = -(-MIN_SIDE // step) * step, can.max_side // step * step
    scale = max(min(1, largest / long), smallest / short)
    longest = min(largest, max(smallest, int(long * scale) // step * step))

    def get_short_side(long_side: int) -> int:
        return max(smallest, round(short * long_side / long / step) * step)

    def get_shape_error(long_side: int) -> float:
        return abs(short * long_side / long / get_short_side(long_side) - 1)

    shortest = max(smallest, longest * 7 // 8)
    best = min(range(longest, shortest - 1, -step), key=get_shape_error)
    return (best, get_short_side(best)) if width >= height else (get_short_side(best), best)


def is_possible(width: int, height: int, can: Capabilities) -> bool:
    return all(MIN_SIDE <= side <= can.max_side and side % can.multiple == 0 for side in (width, height))
