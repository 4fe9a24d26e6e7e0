"""Outpainting: where the start image lies in the extended picture, and how large that is."""

from __future__ import annotations

import math
from typing import NamedTuple

from imagegen.errors import InvalidRequest
from imagegen.schema.field_types import MIN_SIDE
from imagegen.schema.request import GenerationRequest

Size = tuple[int, int]


class Margins(NamedTuple):
    """Pixels around the start image."""

    left: int
    top: int
    right: int
    bottom: int

    def extend(self, size: Size) -> Size:
        return size[0] + self.left + self.right, size[1] + self.top + self.bottom

    def grow(self, width: int, height: int) -> Margins:
        """Returns margins that are wider and higher by so many pixels, at a side that is extended, if there is one."""
        left = width if self.left and not self.right else 0
        top = height if self.top and not self.bottom else 0
        return Margins(self.left + left, self.top + top, self.right + width - left, self.bottom + height - top)


def compute_margins(request: GenerationRequest, start_size: Size) -> Margins:
    """Returns the pixels by which a request extends a start image: those that it says, and those for its ratio."""
    margins = Margins(request.extend_left, request.extend_top, request.extend_right, request.extend_bottom)
    if request.extend_ratio is None:
        return margins
    across, down = map(int, request.extend_ratio.split(":"))
    width, height = margins.extend(start_size)
    more_width, more_height = max(0, height * across // down - width), max(0, width * down // across - height)
    return Margins(
        margins.left + more_width // 2,
        margins.top + more_height // 2,
        margins.right + more_width - more_width // 2,
        margins.bottom + more_height - more_height // 2,
    )


def choose_size(request: GenerationRequest, start_size: Size, multiple: int, max_side: int) -> Size:
    """Returns the size of an extended picture in pixels: its own, up to the next multiple, if `max_side` allows it.

    A larger picture is made smaller.
    """
    size = compute_margins(request, start_size).extend(start_size)
    scale = min(1.0, max_side / max(size))
    rounding = math.ceil if scale == 1 else round
    width, height = (max(math.ceil(MIN_SIDE / multiple), rounding(side * scale / multiple)) * multiple for side in size)
    return min(width, max_side), min(height, max_side)


def check_extension(request: GenerationRequest, start_size: Size) -> None:
    """Raises InvalidRequest for a ratio that the start image has already, without any other extension."""
    if not any(compute_margins(request, start_size)):
        raise InvalidRequest("extend_ratio", f"must not be that of the start image, {start_size[0]}x{start_size[1]}")
