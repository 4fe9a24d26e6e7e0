"""What happens after each step of a run on a GPU, which answers later: with a stand-in for what it answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from imagegen.engine import run
from imagegen.engine.run import AHEAD, Steps
from imagegen.errors import BadLatents
from tests.integration.conftest import unwatched

ON_GPU: Any = SimpleNamespace(is_cuda=True)


class Slow:
    """Of a GPU that computes when it is waited for."""

    waited = 0

    def __init__(self, *_: Any) -> None:
        self.is_there, self.good = False, True

    def fetched(self) -> list[bool]:
        Slow.waited += not self.is_there
        return [self.good]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    monkeypatch.setattr(run, "Later", Slow)
    monkeypatch.setattr(Slow, "waited", 0)
    view: Any = None
    return Steps(unwatched(), view, lambda _: None)


def test_no_run_is_far_ahead_of_its_gpu(steps: Steps) -> None:
    """Else all steps would be asked for at once, and a picture that is cancelled be made all the same."""
    for step in range(1, 8):
        steps.check(step, ON_GPU)
        assert Slow.waited == max(0, step - AHEAD)


def test_nobody_waits_for_the_step_that_was_asked_for_last(steps: Steps) -> None:
    steps.check(1, ON_GPU)
    assert Slow.waited == 0 and len(steps.unread) == 1
    first: Any = steps.unread[0][1]
    first.is_there = True
    steps.check(2, ON_GPU)
    assert Slow.waited == 0 and len(steps.unread) == 1


def test_numbers_that_are_none_are_told_with_their_own_step(steps: Steps) -> None:
    steps.check(1, ON_GPU)
    later: Any = steps.unread[0][1]
    later.good = False
    with pytest.raises(BadLatents, match="step 1"):
        steps.check(2, ON_GPU)
