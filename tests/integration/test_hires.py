"""The second pass: a picture is made larger and painted again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagegen.engine.engine import Engine, EngineEvent, EngineResult, JobInputs
from imagegen.engine.hires import fit_steps
from imagegen.schema.events import Progress
from imagegen.schema.models import Upscalers, UpscalerSource
from imagegen.schema.request import GenerationRequest
from tests.hub.upscalers import make_compact
from tests.integration.conftest import EMBEDDED, Generate, new_control, request
from tests.integration.engine_harness import EngineHarness, run_together
from tests.integration.test_engine import difference
from tests.integration.test_upscaling import LANCZOS, get_source, run

HIRES: dict[str, Any] = {"hires_scale": 2.0, "hires_upscaler": "Latent", "hires_strength": 0.5}


def paint(engine: Engine, upscaler: UpscalerSource | None = None, **fields: Any) -> EngineResult:
    upscalers: Upscalers = {} if upscaler is None else {"hires_upscaler": upscaler}
    return run(engine, JobInputs(request(**HIRES | fields), EMBEDDED, upscalers=upscalers))


def test_latents_are_made_larger_and_painted_again(engine: Engine, generate: Generate) -> None:
    control = new_control()
    control.wants_previews.set()
    *events, last = engine.generate(JobInputs(request(**HIRES, batch_size=2), EMBEDDED), control)
    assert isinstance(last, EngineResult)
    assert [image.size for image in last.images] == [(128, 128)] * 2
    progress = [event for event in events if isinstance(event, Progress)]
    # As many steps as in the first pass.
    assert [(event.stage, event.step) for event in progress] == [
        (stage, step) for stage in (1, 2) for step in (1, 2, 3)
    ]
    assert progress[-1].fraction == 1
    receipt = last.receipts[0]
    assert (receipt.width, receipt.height, receipt.size) == (64, 64, (128, 128))
    assert (receipt.hires_scale, receipt.hires_strength, receipt.hires_upscaler) == (2.0, 0.5, "Latent")
    small = generate(batch_size=2).images[0].resize((128, 128))
    assert difference(small, last.images[0]) < 60, "it is another picture"
    again = run(engine, JobInputs(GenerationRequest(**receipt.to_request_fields() | {"model": None}), EMBEDDED))
    assert difference(again.images[0], last.images[0]) < 1


def test_an_upscaler_comes_before_the_second_pass_in_a_stage_of_its_own(engine: Engine, tmp_path: Path) -> None:
    source = get_source(tmp_path, make_compact(scale=2))
    inputs = JobInputs(
        request(**HIRES | {"hires_upscaler": "mine", "hires_steps": 2}),
        EMBEDDED,
        upscalers={"hires_upscaler": source},
    )
    *events, last = engine.generate(inputs, new_control())
    assert isinstance(last, EngineResult)
    assert last.images[0].size == (128, 128)
    progress = [event for event in events if isinstance(event, Progress)]
    assert [(event.stage, event.step) for event in progress] == [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1), (3, 2)]
    assert last.receipts[0].hires_upscaler_sha256 == source.sha256


def test_a_small_strength_stays_near_the_first_picture(engine: Engine, generate: Generate) -> None:
    first = generate().images[0].resize((128, 128))
    changes = [
        difference(first, paint(engine, LANCZOS, hires_upscaler="Lanczos", hires_strength=strength).images[0])
        for strength in (0.1, 0.9)
    ]
    assert changes[0] < changes[1]


def test_sides_are_rounded_to_what_models_can_make(engine: Engine) -> None:
    assert paint(engine, hires_scale=1.3, width=72).images[0].size == (96, 80)


@pytest.mark.parametrize(("stage", "size"), [(1, (64, 64)), (2, (128, 128))], ids=["first pass", "second pass"])
def test_a_job_that_is_ended_early_has_the_picture_of_the_pass_that_it_is_in(
    engine: Engine, stage: int, size: tuple[int, int]
) -> None:
    control, events = new_control(), list[EngineEvent]()

    def on_event(event: EngineEvent) -> None:
        events.append(event)
        if isinstance(event, Progress) and (event.stage, event.step) == (stage, 1):
            control.finish_requested.set()

    engine.submit(JobInputs(request(**HIRES), EMBEDDED), control, on_event).result()
    last = events[-1]
    assert isinstance(last, EngineResult)
    assert last.images[0].size == size == last.receipts[0].size
    assert last.receipts[0].unfinished_at_step == 1


def test_second_passes_share_passes_with_other_jobs(engine: Engine) -> None:
    """A job in its second pass, and one of its size: together they need fewer passes than one after the other."""
    jobs = [JobInputs(request(**HIRES, seed=seed), EMBEDDED) for seed in (1, 2)]
    before = engine.pass_timer.passes
    run_together(engine, *jobs)
    together = engine.pass_timer.passes - before
    for inputs in jobs:
        run(engine, inputs)
    alone = engine.pass_timer.passes - before - together
    assert together < alone


@pytest.mark.parametrize("name", ["tiny-sd15", "tiny-sdxl", "tiny-sd3", "tiny-flux-dev", "tiny-qwen-image"])
def test_families_paint_again(harness: EngineHarness, name: str) -> None:
    info, _ = harness.model(name)
    upscaler = "Latent" if info.can.latent_upscaling else "Lanczos"
    inputs = harness.make_inputs(name, hires_scale=2, hires_upscaler=upscaler, hires_strength=0.5)
    inputs = JobInputs(inputs.request, inputs.model, upscalers={"hires_upscaler": LANCZOS})
    result = run(harness.engine, inputs)
    assert result.images[0].size == (128, 128)


def test_the_smallest_strength_paints_one_step(harness: EngineHarness) -> None:
    inputs = harness.make_inputs("tiny-sd15", hires_scale=2, hires_upscaler="Latent", hires_strength=5e-324)
    *_, last = (event for event in harness.run(inputs) if isinstance(event, Progress))
    assert (last.stage, last.steps) == (2, 1)


def test_few_steps_of_lcm_may_be_the_end_of_a_long_schedule(harness: EngineHarness) -> None:
    inputs = harness.make_inputs(
        "tiny-sd15", sampler="LCM", hires_scale=2, hires_upscaler="Latent", hires_strength=0.01, hires_steps=8
    )
    *_, last = (event for event in harness.run(inputs) if isinstance(event, Progress))
    assert (last.stage, last.steps) == (2, 8)


@pytest.mark.parametrize("steps", [1, 7, 20, 29, 150])
@pytest.mark.parametrize("strength", [0.1, 0.29, 0.3, 0.55, 0.6, 0.7, 1.0])
def test_a_schedule_has_as_many_steps_as_were_asked_for(steps: int, strength: float) -> None:
    length = fit_steps(steps, strength)
    assert int(length * strength) == min(steps, int(1000 * strength))
