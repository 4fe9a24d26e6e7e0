"""The training loop: a learning rate schedule, averaged weights, and a state on disk to resume from."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from training.machine import Machine

# Computes the loss of a step, which depends on its number alone, and figures for the log.
LossFunction = Callable[[int], tuple[Tensor, Mapping[str, float | Tensor]]]


@dataclass(frozen=True)
class TrainingSchedule:
    """Length and learning rate of a training. `average` is the decay of the moving average of the weights."""

    name: str
    steps: int
    peak: float
    warmup: int = 100
    average: float = 0.998
    momenta: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01


def run_training(
    schedule: TrainingSchedule,
    trainable: Sequence[nn.Module],
    compute_loss: LossFunction,
    state: Path,
    machine: Machine,
    seed: int = 0,
    rates: Sequence[float] | None = None,
) -> None:
    """Runs all steps, or those after the saved state. At the end the modules have the averaged weights.

    `rates` are the learning rates of the modules, relative to that of the schedule; without it, all are 1.
    Raises OutOfTimeError, with the state saved, if the machine's time is up before.
    """
    torch.manual_seed(seed)
    modules = nn.ModuleList(trainable)
    parameters = [p for p in modules.parameters() if p.requires_grad]
    groups = [parameters] if rates is None else [list(module.parameters()) for module in trainable]
    optimizer = torch.optim.AdamW(
        [{"params": group} for group in groups],
        lr=schedule.peak,
        betas=schedule.momenta,
        weight_decay=schedule.weight_decay,
        fused=True,
    )
    averaged, clock = WeightAverage(parameters, schedule.average), Clock(schedule.steps)
    load_state(state, clock, averaged, optimizer, modules)
    before = clock.step
    progress = ProgressLog(schedule.name, clock)
    modules.train()
    try:
        while not clock.done:
            machine.check_time()
            for group, rate in zip(optimizer.param_groups, rates or [1.0], strict=True):
                group["lr"] = rate * clock.rate(schedule.peak, schedule.warmup)
            loss, figures = compute_loss(clock.step)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            clock.tick()
            averaged.update(clock.step)
            progress.note(loss=loss.detach(), **figures)
            if clock.should_save():
                save_state(state, clock, averaged, optimizer, modules)
    finally:
        if clock.step > before:
            save_state(state, clock, averaged, optimizer, modules)
    averaged.copy()
    modules.eval()


class Clock:
    """Counts steps and seconds. Both are saved with the state."""

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
        """Returns the learning rate: a short warm-up, then a cosine to a fiftieth of the peak."""
        cosine = 0.5 * (1 + math.cos(math.pi * self.share))
        return peak * min(1.0, (self.step + 1) / warmup) * (0.02 + 0.98 * cosine)

    def should_save(self) -> bool:
        """Returns whether SAVE_EVERY seconds have passed since it last returned True."""
        due = time.monotonic() - self._saved > self.SAVE_EVERY
        if due:
            self._saved = time.monotonic()
        return due


class WeightAverage:
    """An exponential moving average of weights. Its decay grows with the steps, up to `limit`."""

    def __init__(self, parameters: Sequence[Tensor], limit: float) -> None:
        self.live = parameters
        self.mean: list[Tensor] = [p.detach().clone() for p in parameters]
        self.limit = limit

    @torch.no_grad()
    def update(self, step: int) -> None:
        keep = min(self.limit, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.mean, [p.detach() for p in self.live], 1 - keep)

    @torch.no_grad()
    def copy(self) -> None:
        """Copies the averages into the weights."""
        for parameter, mean in zip(self.live, self.mean, strict=True):
            parameter.copy_(mean)


class ProgressLog:
    """Prints the mean of each figure every 100 steps, and at some of the first."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name, self.clock = name, clock
        self.figures: defaultdict[str, list[Tensor]] = defaultdict(list)

    def note(self, **figures: float | Tensor) -> None:
        for name, value in figures.items():
            self.figures[name].append(torch.as_tensor(value))
        if self.clock.step in (5, 20, 50) or self.clock.step % 100 == 0:
            means = " ".join(f"{name} {torch.stack(values).mean():.4f}" for name, values in self.figures.items())
            seconds_per_step = self.clock.spent / self.clock.step
            print(
                f"{self.name} {self.clock.step} {self.clock.spent:.0f}s {seconds_per_step:.3f}s/step {means}",
                flush=True,
            )
            self.figures.clear()


def save_state(
    path: Path, clock: Clock, averaged: WeightAverage, optimizer: torch.optim.Optimizer, model: nn.Module
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
            "random_cuda": torch.cuda.get_rng_state_all(),
        },
        partial,
    )
    partial.replace(path)


def load_state(
    path: Path, clock: Clock, averaged: WeightAverage, optimizer: torch.optim.Optimizer, model: nn.Module
) -> None:
    """Restores a saved state, if there is one."""
    if not path.exists():
        return
    state = torch.load(path, weights_only=True)
    clock.step, clock.spent = state["step"], state["spent"]
    averaged.mean = [mean.to(live.device) for mean, live in zip(state["mean"], averaged.live, strict=True)]
    optimizer.load_state_dict(state["optimizer"])
    model.load_state_dict(state["model"])
    torch.set_rng_state(state["random"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["random_cuda"])
