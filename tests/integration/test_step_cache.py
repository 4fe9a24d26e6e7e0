"""Step caching: fewer passes, nearly the same picture, and no effect on other jobs."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from imagegen.engine.engine import Engine, EngineResult, JobInputs
from imagegen.errors import InvalidRequest
from imagegen.schema.validation import fill_in_defaults
from tests.hub.tiny import TINY
from tests.integration.conftest import EMBEDDED, INFO, request
from tests.integration.engine_harness import EngineHarness, get_final_image, run_together


def psnr(first: Image.Image, second: Image.Image) -> float:
    error = (np.asarray(first, np.float64) - np.asarray(second, np.float64)) ** 2
    return float(10 * np.log10(255**2 / max(error.mean(), 1e-12)))


def make_step_cache_inputs(seed: int, step_cache: float) -> JobInputs:
    job_request = request(seed=seed, steps=20, step_cache=step_cache, width=128, height=128)
    return JobInputs(fill_in_defaults(job_request, INFO, seed), EMBEDDED)


def test_fewer_passes_give_nearly_the_same_picture_and_the_receipt_has_the_setting(engine: Engine) -> None:
    made = []
    for step_cache in (0, 0.1, 0.3):
        before = engine.pass_timer.passes
        (events,) = run_together(engine, make_step_cache_inputs(1, step_cache))
        made.append((engine.pass_timer.passes - before, get_final_image(events)))
        assert isinstance(events[-1], EngineResult)
        assert events[-1].receipts[0].step_cache == step_cache
    whole, some, many = (passes for passes, _ in made)
    assert whole > some > many and many < 0.75 * whole
    exact, near, coarse = (image for _, image in made)
    assert psnr(exact, near) > psnr(exact, coarse) > 30
    assert near.tobytes() != exact.tobytes()


def test_who_shares_the_steps_does_not_notice(engine: Engine) -> None:
    expected = [
        get_final_image(run_together(engine, inputs)[0])
        for inputs in (make_step_cache_inputs(1, 0), make_step_cache_inputs(2, 0.3))
    ]
    found = [
        get_final_image(events)
        for events in run_together(engine, make_step_cache_inputs(1, 0), make_step_cache_inputs(2, 0.3))
    ]
    assert min(psnr(*pair) for pair in zip(expected, found, strict=True)) > 50


@pytest.mark.parametrize("name", [name for name in TINY if name != "tiny-z-image"])
def test_every_architecture_can(harness: EngineHarness, name: str) -> None:
    """Also with pipelines that make two calls per step."""
    before = harness.engine.pass_timer.passes
    whole = get_final_image(harness.run(harness.make_inputs(name, steps=16)))
    passes = harness.engine.pass_timer.passes - before
    guessed = get_final_image(harness.run(harness.make_inputs(name, steps=16, step_cache=1.0)))
    assert harness.engine.pass_timer.passes - before - passes < passes
    assert guessed.size == whole.size


def test_a_model_without_step_caching_refuses_it(harness: EngineHarness) -> None:
    with pytest.raises(InvalidRequest, match="step_cache: cannot be used with the model tiny-z-image"):
        harness.make_inputs("tiny-z-image", step_cache=0.2)
