"""Events that were stored by an earlier version can be read."""

from __future__ import annotations

import pytest

from imagegen.schema.events import EVENT_ADAPTER, Progress


def test_progress_without_stages_is_that_of_the_only_stage() -> None:
    event = EVENT_ADAPTER.validate_json('{"type": "progress", "seq": 3, "step": 1, "steps": 4, "seconds_left": null}')
    assert event == Progress(seq=3, step=1, steps=4, stage=1, stages=1)
    assert isinstance(event, Progress) and event.fraction == 0.25


def test_each_stage_is_the_same_share_of_a_job() -> None:
    assert Progress(step=1, steps=4, stage=3, stages=3).fraction == pytest.approx(2.25 / 3)
