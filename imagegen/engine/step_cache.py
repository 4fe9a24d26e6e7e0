"""Steps that are guessed instead of computed, where the last ones tell what would come of them: quicker, and coarser.

EasyCache, Zhou et al. 2025, https://arxiv.org/abs/2507.02860: between two steps the output of a denoiser changes about
as much more than its input as it did before. As long as the change so foretold stays below a share of the output, what
the network added to its input the last time is added again.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

# Where the picture is decided nothing is guessed: in the first steps.
FIRST = 3
SMALL = 1e-12


class StepCache:
    """Of one run. `threshold` is the change that may add up before the network is asked again; 0 guesses nothing."""

    def __init__(self, threshold: float = 0.0) -> None:
        self.threshold = threshold
        self._calls: list[Guesses] = []
        self._number = 0

    def step(self) -> None:
        """A step is over: the next call is the first of another."""
        self._number = 0

    def call(self) -> Guesses:
        """Of this call; some pipelines make two in a step, one for each prompt."""
        if self._number == len(self._calls):
            self._calls.append(Guesses(self.threshold))
        self._number += 1
        return self._calls[self._number - 1]


class Guesses:
    """`_last` is the last input and output, `_added` what the network added to its input when it was asked last."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._asked = 0
        self._last: tuple[Tensor, Tensor] | None = None
        self._added: Tensor | None = None
        self._rate = self._change = 0.0

    def guess(self, x: Any) -> tuple[Tensor] | None:
        """What the network would say; None where it has to be asked."""
        if self._asked <= FIRST or self._last is None or self._added is None:
            return None
        before, said = self._last
        self._change += self._rate * size(x - before) / max(size(said), SMALL)
        if self._change >= self.threshold:
            return None
        self._last = x, x + self._added
        return (self._last[1],)

    def learn(self, x: Any, output: Any) -> None:
        """What it said. An output that is not of the shape of its input cannot be guessed."""
        said = output[0] if self.threshold and isinstance(output, tuple) else None
        if not isinstance(x, Tensor) or not isinstance(said, Tensor) or said.shape != x.shape:
            return
        if self._last is not None:
            before, said_before = self._last
            self._rate = size(said - said_before) / max(size(x - before), SMALL)
        self._asked += 1
        self._change = 0.0
        self._last, self._added = (x, said), said - x


def size(tensor: Tensor) -> float:
    return float(tensor.float().abs().mean())
