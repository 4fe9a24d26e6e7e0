"""What every training loop here needs: a clock that decides the learning rate, averaged weights, and a saved state."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn


class Clock:
    """Counts steps towards their number. A state that was saved goes on where it stopped."""

    SAVE_EVERY = 240.0

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.step = 0
        self.spent = 0.0
        self._last = time.monotonic()
        self._saved = self._last

    @property
    def share(self) -> float:
        return min(1.0, self.step / self.steps)

    @property
    def done(self) -> bool:
        return self.step >= self.steps

    def tick(self) -> None:
        now = time.monotonic()
        self.spent += now - self._last
        self._last = now
        self.step += 1

    def rate(self, peak: float, warmup: int) -> float:
        """A short warm-up, then a cosine to a fiftieth of the peak."""
        cosine = 0.5 * (1 + math.cos(math.pi * self.share))
        return peak * min(1.0, (self.step + 1) / warmup) * (0.02 + 0.98 * cosine)

    def should_save(self) -> bool:
        due = time.monotonic() - self._saved > self.SAVE_EVERY
        if due:
            self._saved = time.monotonic()
        return due


class Averaged:
    """An exponential moving average of the weights of some modules; short at first, then as long as `limit`."""

    def __init__(self, modules: Sequence[nn.Module], limit: float) -> None:
        self.live: list[Tensor] = [p for module in modules for p in module.parameters()]
        self.mean: list[Tensor] = [p.detach().clone() for p in self.live]
        self.limit = limit

    @torch.no_grad()
    def update(self, step: int) -> None:
        keep = min(self.limit, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.mean, [p.detach() for p in self.live], 1 - keep)

    @torch.no_grad()
    def copy_to(self, modules: Sequence[nn.Module]) -> None:
        parameters = [p for module in modules for p in module.parameters()]
        for parameter, mean in zip(parameters, self.mean, strict=True):
            parameter.copy_(mean)


class Progress:
    """Prints the mean of each noted figure now and then."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name, self.clock = name, clock
        self.figures: defaultdict[str, list[float]] = defaultdict(list)

    def note(self, **figures: float) -> None:
        for name, value in figures.items():
            self.figures[name].append(value)
        if self.clock.step in (5, 20, 50) or self.clock.step % 100 == 0:
            means = " ".join(f"{name} {sum(values) / len(values):.4f}" for name, values in self.figures.items())
            pace = self.clock.spent / self.clock.step
            print(f"{self.name} {self.clock.step} {self.clock.spent:.0f}s {pace:.3f}s/step {means}", flush=True)
            self.figures.clear()


def save_state(
    path: Path, clock: Clock, averaged: Averaged, optimizer: torch.optim.Optimizer, model: nn.Module
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(
        {
            "step": clock.step,
            "spent": clock.spent,
            "mean": averaged.mean,
            "optimizer": optimizer.state_dict(),
            "model": model.state_dict(),
            "random": torch.get_rng_state(),
        },
        partial,
    )
    partial.replace(path)


def load_state(
    path: Path, clock: Clock, averaged: Averaged, optimizer: torch.optim.Optimizer, model: nn.Module
) -> None:
    """Goes on from a saved state, when there is one."""
    if not path.exists():
        return
    state = torch.load(path, weights_only=True)
    clock.step, clock.spent = state["step"], state["spent"]
    averaged.mean = state["mean"]
    optimizer.load_state_dict(state["optimizer"])
    model.load_state_dict(state["model"])
    torch.set_rng_state(state["random"])
