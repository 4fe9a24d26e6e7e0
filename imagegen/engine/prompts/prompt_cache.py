"""A cache of text encoder outputs: most of all, the empty negative prompt is encoded again and again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

import torch
from PIL import Image
from torch.utils._pytree import tree_leaves, tree_map_only

Value = TypeVar("Value")
CACHEABLE_TYPES = (str, int, float, bool, type(None), torch.device, Image.Image)


class PromptCache(Generic[Value]):
    """Holds at most `max_entries` values, and evicts the least recently used."""

    def __init__(self, max_entries: int) -> None:
        self.max_entries = max_entries
        self._entries: dict[Hashable, Value] = {}

    def get_or_compute(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """Returns the cached value of a key, or computes and caches it."""
        value = self._entries.pop(key) if key in self._entries else compute()
        self._entries[key] = value
        while len(self._entries) > self.max_entries:
            del self._entries[next(iter(self._entries))]
        return value

    def clear(self) -> None:
        """Evicts all values."""
        self._entries.clear()


def cache_calls(function: Callable[..., Any], cache: PromptCache[Any], adapters_key: Hashable) -> Callable[..., Any]:
    """Returns `function` with a cache of its results by arguments and `adapters_key`.

    `adapters_key` identifies the LoRAs on the text encoders. Some text encoders look at a picture, too: equal pictures
    are the same argument. Calls with other arguments than CACHEABLE_TYPES, such as tensors, are not cached.
    """

    def cached_function(*args: Any, **kwargs: Any) -> Any:
        if not all(isinstance(leaf, CACHEABLE_TYPES) for leaf in tree_leaves((args, kwargs))):
            return function(*args, **kwargs)
        key = repr(tree_map_only(Image.Image, hash_image, (args, kwargs)))
        return cache.get_or_compute((adapters_key, key), lambda: function(*args, **kwargs))

    return cached_function


def hash_image(image: Image.Image) -> tuple[str, tuple[int, int], str]:
    """Returns what is equal for pictures with the same pixels."""
    return image.mode, image.size, hashlib.sha256(image.tobytes()).hexdigest()
