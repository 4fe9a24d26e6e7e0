"""Makes pictures larger: by a resampling filter, or by a network, tile by tile."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from imagegen.engine.host_copy import AsyncHostCopy
from imagegen.engine.run_loop import run_in_thread, wait_for
from imagegen.engine.upscaling.tiles import DEFAULT_TILE_SIDE, TILE_SIDES, Tile, plan_tiles
from imagegen.errors import UpscalingFailed
from imagegen.library.upscaler_architectures import UpscalerArchitecture
from imagegen.schema.sizes import Size

RESAMPLING_FILTERS = {
    "Lanczos": Image.Resampling.LANCZOS,
    "Bicubic": Image.Resampling.BICUBIC,
    "Nearest": Image.Resampling.NEAREST,
}
# How often a network may run, one time after the other, to reach the size. More would take very long.
MAX_PASSES = 3

ByteArray = NDArray[np.uint8]
# Called before each tile.
OnTile = Callable[[], None]


class Enlarger(Protocol):
    """Makes RGB pictures larger."""

    def count_tiles(self, size: Size, target: Size) -> int:
        """Returns how many tiles `enlarge` goes through."""

    def enlarge(self, image: Image.Image, target: Size, on_tile: OnTile) -> Image.Image:
        """Returns the picture in the size `target`. Other tasks go on between tiles; `on_tile` may end the work."""


@dataclass(frozen=True)
class FilterEnlarger:
    """A resampling filter, in one tile."""

    name: str

    def count_tiles(self, size: Size, target: Size) -> int:
        return 1

    def enlarge(self, image: Image.Image, target: Size, on_tile: OnTile) -> Image.Image:
        on_tile()
        return wait_for(run_in_thread(lambda: image.resize(target, RESAMPLING_FILTERS[self.name])))


@dataclass(frozen=True)
class NetworkEnlarger:
    """A network on a device, which makes pictures `architecture.scale` times as large.

    It runs until the picture is large enough, and a filter reduces what exceeds the size.
    """

    network: Callable[[Tensor], Tensor]
    architecture: UpscalerArchitecture
    device: torch.device

    def count_tiles(self, size: Size, target: Size) -> int:
        return sum(len(self._plan(each)) for each in self._list_input_sizes(size, target))

    def enlarge(self, image: Image.Image, target: Size, on_tile: OnTile) -> Image.Image:
        """Raises UpscalingFailed, and what `on_tile` raises."""
        for size in self._list_input_sizes(image.size, target):
            image = self._run(resize(image, size), on_tile)
        return resize(image, target)

    def _list_input_sizes(self, size: Size, target: Size) -> list[Size]:
        """Returns the size that each run begins with. The last begins with what becomes the target."""
        scale = self.architecture.scale
        factor = max(target[0] / size[0], target[1] / size[1])
        passes = 1 if scale == 1 else min(max(1, math.ceil(math.log(factor, scale) - 1e-6)), MAX_PASSES)
        if passes == 1:
            return [size]
        last = max(1, math.ceil(target[0] / scale)), max(1, math.ceil(target[1] / scale))
        return [*((size[0] * scale**number, size[1] * scale**number) for number in range(passes - 1)), last]

    def _plan(self, size: Size) -> list[Tile]:
        side = TILE_SIDES.get(self.device.type, DEFAULT_TILE_SIDE)
        return plan_tiles(size, side, self.architecture.radius, self.architecture.unshuffle)

    def _run(self, image: Image.Image, on_tile: OnTile) -> Image.Image:
        """Returns the picture, `scale` times as large."""
        scale = self.architecture.scale
        pixels = np.asarray(image.convert("RGB"))
        result = np.empty((image.height * scale, image.width * scale, 3), np.uint8)
        for tile in self._plan(image.size):
            on_tile()
            left, top, right, bottom = (place * scale for place in tile.kept)
            seen_left, seen_top = tile.seen[0] * scale, tile.seen[1] * scale
            enlarged = self._run_tile(pixels, tile)
            result[top:bottom, left:right] = enlarged[
                top - seen_top : bottom - seen_top, left - seen_left : right - seen_left
            ]
        return Image.fromarray(result)

    def _run_tile(self, pixels: ByteArray, tile: Tile) -> ByteArray:
        """Returns what the network makes of a tile: uint8 of shape (height, width, 3)."""
        left, top, right, bottom = tile.seen
        part = torch.from_numpy(pixels[top:bottom, left:right].copy()).to(self.device)
        inputs = part.permute(2, 0, 1)[None].float() / 255
        # Networks that turn squares into channels need whole squares.
        missing = [-side % self.architecture.unshuffle for side in (right - left, bottom - top)]
        output = self.network(F.pad(inputs, (0, missing[0], 0, missing[1]), mode="replicate"))
        finite = torch.isfinite(output).all()
        eight_bits = (output[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
        if output.is_cuda:
            finite, eight_bits = wait_for(run_in_thread(AsyncHostCopy(finite, eight_bits).wait_for_tensors))
        if not finite:
            raise UpscalingFailed
        tile_pixels: ByteArray = eight_bits.numpy()
        return tile_pixels


def resize(image: Image.Image, size: Size) -> Image.Image:
    """Returns the picture in a size; as it is if it has it."""
    if image.size == size:
        return image
    return wait_for(run_in_thread(lambda: image.resize(size, Image.Resampling.LANCZOS)))


def enlarge_with_alpha(enlarger: Enlarger, image: Image.Image, target: Size, on_tile: OnTile) -> Image.Image:
    """Returns an RGB or RGBA picture in the size `target`, in the same mode. A filter makes the alpha channel larger.

    Under transparent pixels a picture may have any colour; there the network gets the nearest colour that is seen.
    """
    if image.mode != "RGBA":
        return enlarger.enlarge(image, target, on_tile)
    alpha = image.getchannel("A")
    colours = wait_for(run_in_thread(lambda: spread_colours(image)))
    enlarged = enlarger.enlarge(colours, target, on_tile).convert("RGB")
    enlarged.putalpha(resize(alpha, target))
    return enlarged


def spread_colours(image: Image.Image) -> Image.Image:
    """Returns an RGBA picture in RGB, in which visible colours reach into the transparent parts.

    Each size of the picture, from the smallest to the whole, shows where its own pixels are visible.
    """
    width, height = image.size
    premultiplied = image.convert("RGBa")
    levels = [premultiplied]
    while max(levels[-1].size) > 1:
        half = max(1, (levels[-1].width + 1) // 2), max(1, (levels[-1].height + 1) // 2)
        levels.append(levels[-1].resize(half, Image.Resampling.BOX))
    filled = Image.new("RGB", levels[-1].size)
    for level in reversed(levels):
        straight = level.convert("RGBA")
        below = filled.resize(level.size, Image.Resampling.BILINEAR)
        visible = straight.getchannel("A").point(lambda value: 255 if value else 0)
        filled = Image.composite(straight.convert("RGB"), below, visible)
    assert filled.size == (width, height)
    return filled
