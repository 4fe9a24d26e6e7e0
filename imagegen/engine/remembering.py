"""What text encoders said of a prompt, kept: the empty negative prompt above all is asked for again and again."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

import torch
from torch.utils._pytree import tree_leaves

Value = TypeVar("Value")
PLAIN = (str, int, float, bool, type(None), torch.device)


class Remembered(Generic[Value]):
    """At most so many answers; those that were not asked for lately are forgotten first."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._answers: dict[Hashable, Value] = {}

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        value = self._answers.pop(key) if key in self._answers else make()
        self._answers[key] = value
        while len(self._answers) > self.most:
            del self._answers[next(iter(self._answers))]
        return value

    def forget(self) -> None:
        self._answers.clear()


def remembering(function: Callable[..., Any], remembered: Remembered[Any], worn: Hashable) -> Callable[..., Any]:
    """`function`, which is asked once for the same words as long as the text encoders wear the same."""

    def asked(*args: Any, **kwargs: Any) -> Any:
        if not all(isinstance(leaf, PLAIN) for leaf in tree_leaves((args, kwargs))):
            return function(*args, **kwargs)
        return remembered.get((worn, repr((args, kwargs))), lambda: function(*args, **kwargs))

    return asked
