"""How latents lie at each step, by family: as planes, or as rows of patches of 2 x 2 for a transformer."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from imagegen.library.families import Latents

# Brings latents to (n, channels, height, width), given the rows of patches.
Unpacked = Callable[[Tensor, int], Tensor]


def planes(latents: Tensor, _rows: int) -> Tensor:
    return latents


def unpacked(latents: Tensor, rows: int) -> Tensor:
    """From (n, rows * columns, channels * 2 * 2), as FLUX and Qwen-Image have them."""
    count, patches, width = latents.shape
    grid = latents.view(count, rows, patches // rows, width // 4, 2, 2)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(count, width // 4, rows * 2, patches // rows * 2)


UNPACKED: dict[Latents, Unpacked] = {"planes": planes, "packed": unpacked}
