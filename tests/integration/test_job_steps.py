"""The check after each step on a GPU, whose result arrives later; with a double for GPU tensors."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from imagegen.engine import step_callback
from imagegen.engine.job import JobControl
from imagegen.engine.step_callback import MAX_STEPS_AHEAD, StepCallback
from imagegen.errors import NonFiniteLatents

ON_GPU: Any = SimpleNamespace(is_cuda=True)


class Slow:
    """A tensor on a GPU that computes only when it is waited for."""

    waited = 0

    def __init__(self, *_: Any) -> None:
        self.is_ready, self.good = False, True

    def wait_for_tensors(self) -> list[bool]:
        Slow.waited += not self.is_ready
        return [self.good]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> StepCallback:
    monkeypatch.setattr(step_callback, "AsyncHostCopy", Slow)
    monkeypatch.setattr(Slow, "waited", 0)
    view: Any = None
    return StepCallback(JobControl(threading.Event(), threading.Event()), view, lambda _: None)


def test_no_run_is_far_ahead_of_its_gpu(steps: StepCallback) -> None:
    """Otherwise all steps would be launched at once, and a cancelled picture would be computed to its end."""
    for step in range(1, 8):
        steps.check_finite(step, ON_GPU)
        assert Slow.waited == max(0, step - MAX_STEPS_AHEAD)


def test_no_step_waits_for_the_one_that_was_launched_last(steps: StepCallback) -> None:
    steps.check_finite(1, ON_GPU)
    assert Slow.waited == 0 and len(steps.unchecked) == 1
    first: Any = steps.unchecked[0][1]
    first.is_ready = True
    steps.check_finite(2, ON_GPU)
    assert Slow.waited == 0 and len(steps.unchecked) == 1


def test_non_finite_latents_are_reported_with_their_own_step(steps: StepCallback) -> None:
    steps.check_finite(1, ON_GPU)
    later: Any = steps.unchecked[0][1]
    later.good = False
    with pytest.raises(NonFiniteLatents, match="step 1"):
        steps.check_finite(2, ON_GPU)
