"""Autoencoders that work in tiles: the memory that they need then hardly grows with the picture.

It takes longer, and the tiles are blended into each other, so that the picture differs a little.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from imagegen.engine.models.out_of_memory import is_out_of_memory, release_unused_memory

logger = logging.getLogger(__name__)

T = TypeVar("T")


def enable_tiles(vae: Any) -> None:
    """Makes an autoencoder work on one picture at a time and in tiles, where it can."""
    for method in ("enable_slicing", "enable_tiling"):
        with suppress(NotImplementedError, AttributeError):
            getattr(vae, method)()


@contextmanager
def work_in_tiles(vae: Any) -> Iterator[None]:
    """Makes an autoencoder work in tiles, and then as before."""
    before = {name: getattr(vae, name) for name in ("use_slicing", "use_tiling") if hasattr(vae, name)}
    logger.info("A picture is decoded or encoded in tiles: memory is short", extra={"action": "vae_tiled"})
    release_unused_memory()
    enable_tiles(vae)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(vae, name, value)


def call_with_tiles_if_short(vae: Any, function: Callable[[], T]) -> T:
    """Calls a function that uses an autoencoder, and calls it again in tiles if memory runs out."""
    try:
        return function()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    with work_in_tiles(vae):
        return function()
