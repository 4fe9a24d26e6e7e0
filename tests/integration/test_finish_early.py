"""Jobs that are ended early, with the pictures as they are then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imagegen.engine.engine import Engine, EngineEvent, EngineResult, JobControl, JobInputs
from imagegen.schema.events import Progress
from imagegen.schema.field_types import SamplerName
from imagegen.schema.validation import fill_in_defaults
from tests.hub.tiny import TINY
from tests.integration.conftest import EMBEDDED, INFO, Generate, request
from tests.integration.engine_harness import (
    ANY_IMAGE,
    EngineHarness,
    get_final_image,
    hold_engine,
    name_start_image,
    new_control,
    run_together,
)

START = Image.fromarray(np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8))
STEPS = 20


def make_inputs(start: Image.Image | None = None, **fields: Any) -> JobInputs:
    fields = {"steps": STEPS} | fields | ({"init_image": ANY_IMAGE} if start is not None else {})
    return JobInputs(fill_in_defaults(request(**fields), INFO, seed=1), EMBEDDED, input_images=name_start_image(start))


def collect_and_finish(
    engine: Engine, control: JobControl, at_step: int, then: Callable[[], None] = lambda: None
) -> tuple[list[EngineEvent], Callable[[EngineEvent], None]]:
    """Returns a list of events, and a function for `Engine.submit` that fills it and ends the job after a step."""
    events: list[EngineEvent] = []

    def on_event(event: EngineEvent) -> None:
        events.append(event)
        if isinstance(event, Progress) and event.step == at_step:
            engine.finish_early(control)
            then()

    return events, on_event


def run_and_finish(
    engine: Engine, inputs: JobInputs, at_step: int, then: Callable[[JobControl], None] = lambda _: None
) -> tuple[list[Progress], EngineResult]:
    """Returns the progress and the result of a job that is ended in the event of a step."""
    control = new_control()
    events, on_event = collect_and_finish(engine, control, at_step, lambda: then(control))
    engine.submit(inputs, control, on_event).result()
    last = events[-1]
    assert isinstance(last, EngineResult)
    return [event for event in events if isinstance(event, Progress)], last


def measure_difference(first: Image.Image, second: Image.Image) -> float:
    """Returns the mean difference of all pixels, in steps of 1/255."""
    return float(np.abs(np.asarray(first, np.float32) - np.asarray(second, np.float32)).mean())


def test_a_job_ends_early_with_its_picture_and_the_receipt_says_so(engine: Engine, generate: Generate) -> None:
    steps, result = run_and_finish(engine, make_inputs(), at_step=6)
    assert steps[-1].step < STEPS
    assert [receipt.unfinished_at_step for receipt in result.receipts] == [steps[-1].step]
    assert result.receipts[0].steps == STEPS
    assert result.images[0].size == (64, 64)
    assert generate(steps=STEPS).receipts[0].unfinished_at_step is None


def test_the_steps_that_remain_are_not_computed(engine: Engine) -> None:
    engine.warm(EMBEDDED)
    calls: list[int] = []
    hook = engine.store.models["embedded"].denoiser.register_forward_pre_hook(lambda *_: calls.append(1))
    run_and_finish(engine, make_inputs(steps=150), at_step=1)
    hook.remove()
    assert len(calls) <= 2


@pytest.mark.parametrize("sampler", ["DPM++ 2M", "Euler", "Euler a", "DDIM", "UniPC", "DPM++ 2M SDE Karras"])
def test_the_picture_is_near_the_finished_one_and_without_the_noise_of_its_step(
    engine: Engine, generate: Generate, sampler: SamplerName
) -> None:
    fields: dict[str, Any] = {"width": 256, "height": 256, "sampler": sampler}
    finished = generate(**fields, steps=STEPS).images[0]
    _, result = run_and_finish(engine, make_inputs(**fields), at_step=STEPS - 6)
    assert measure_roughness(result.images[0]) < 1.5 * measure_roughness(finished)
    assert measure_difference(result.images[0], finished) < 12


def measure_roughness(image: Image.Image) -> float:
    """Returns the mean difference of neighbouring pixels."""
    values = np.asarray(image, np.float32)
    return float(np.abs(np.diff(values, axis=0)).mean() + np.abs(np.diff(values, axis=1)).mean())


def test_all_pictures_of_a_batch_are_kept(engine: Engine) -> None:
    steps, result = run_and_finish(engine, make_inputs(batch_size=2, more_prompts=("a tree",)), at_step=3)
    assert [receipt.unfinished_at_step for receipt in result.receipts] == [steps[-1].step] * 4
    assert len({image.tobytes() for image in result.images}) == 4


@pytest.mark.parametrize(
    ("start", "fields"),
    [
        (START, {"strength": 0.8}),
        (None, {"step_cache": 0.3}),
        (None, {"variation_seed": 5, "variation_strength": 0.5}),
    ],
    ids=["start image", "step cache", "variation"],
)
def test_every_kind_of_job_can_be_ended_early(
    engine: Engine, start: Image.Image | None, fields: dict[str, Any]
) -> None:
    steps, result = run_and_finish(engine, make_inputs(start, **fields), at_step=8)
    assert result.receipts[0].unfinished_at_step == steps[-1].step < steps[-1].steps


@pytest.mark.parametrize("name", TINY)
def test_every_family_can_be_ended_early(harness: EngineHarness, name: str) -> None:
    harness.run(harness.make_inputs(name, steps=1))
    for start in (None, START) if harness.model(name)[0].can.image_to_image else (None,):
        inputs = harness.make_inputs(name, start=start, steps=12)
        steps, result = run_and_finish(harness.engine, inputs, at_step=3)
        assert result.receipts[0].unfinished_at_step == steps[-1].step < steps[-1].steps
        assert result.images[0].size == (64, 64)


def test_a_job_that_has_made_its_last_step_is_finished(engine: Engine, generate: Generate) -> None:
    _, result = run_and_finish(engine, make_inputs(), at_step=STEPS)
    assert result.receipts[0].unfinished_at_step is None
    assert result.images[0].tobytes() == generate(steps=STEPS).images[0].tobytes()


def test_a_cancel_afterwards_and_a_second_time_change_nothing(engine: Engine) -> None:
    def again(control: JobControl) -> None:
        engine.finish_early(control)
        engine.cancel(control)

    steps, result = run_and_finish(engine, make_inputs(), at_step=3, then=again)
    assert result.receipts[0].unfinished_at_step == steps[-1].step


def test_jobs_that_share_the_steps_go_on(engine: Engine) -> None:
    others = [make_inputs(seed=2), make_inputs(seed=3, steps=STEPS + 5)]
    alone = [get_final_image(run_together(engine, inputs)[0]) for inputs in others]
    control, ended = new_control(), make_inputs(seed=1)
    events, on_event = collect_and_finish(engine, control, at_step=4)
    found: list[list[EngineEvent]] = [[] for _ in others]
    with hold_engine(engine, ended):
        jobs = [engine.submit(ended, control, on_event)]
        jobs += [engine.submit(inputs, new_control(), each.append) for inputs, each in zip(others, found, strict=True)]
    for job in jobs:
        job.result()
    assert isinstance(events[-1], EngineResult) and events[-1].receipts[0].unfinished_at_step is not None
    assert max(measure_difference(*pair) for pair in zip(alone, map(get_final_image, found), strict=True)) < 0.1
