"""Steps that are guessed: fewer passes, nearly the same picture, and nobody else's business."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from imagegen.engine.engine import Engine, Finished, Work
from imagegen.errors import InvalidRequest
from imagegen.validation import resolved
from tests.hub.tiny import TINY
from tests.integration.conftest import EMBEDDED, INFO, request
from tests.integration.tiny import Bench, image_of, run_together


def psnr(first: Image.Image, second: Image.Image) -> float:
    error = (np.asarray(first, np.float64) - np.asarray(second, np.float64)) ** 2
    return float(10 * np.log10(255**2 / max(error.mean(), 1e-12)))


def asked(seed: int, step_cache: float) -> Work:
    wanted = request(seed=seed, steps=20, step_cache=step_cache, width=128, height=128)
    return Work(resolved(wanted, INFO, seed), EMBEDDED)


def test_fewer_passes_make_nearly_the_same_picture_and_the_receipt_says_so(engine: Engine) -> None:
    made = []
    for step_cache in (0, 0.1, 0.3):
        before = engine.stopwatch.passes
        (events,) = run_together(engine, asked(1, step_cache))
        made.append((engine.stopwatch.passes - before, image_of(events)))
        assert isinstance(events[-1], Finished)
        assert events[-1].receipts[0].step_cache == step_cache
    whole, some, many = (passes for passes, _ in made)
    assert whole > some > many and many < 0.75 * whole
    exact, near, coarse = (image for _, image in made)
    assert psnr(exact, near) > psnr(exact, coarse) > 30
    assert near.tobytes() != exact.tobytes()


def test_who_shares_the_steps_does_not_notice(engine: Engine) -> None:
    expected = [image_of(run_together(engine, work)[0]) for work in (asked(1, 0), asked(2, 0.3))]
    found = [image_of(events) for events in run_together(engine, asked(1, 0), asked(2, 0.3))]
    assert min(psnr(*pair) for pair in zip(expected, found, strict=True)) > 50


@pytest.mark.parametrize("name", [name for name in TINY if name != "tiny-z-image"])
def test_every_architecture_can(bench: Bench, name: str) -> None:
    """Also those that ask twice in a step."""
    before = bench.engine.stopwatch.passes
    whole = image_of(bench.events(bench.work(name, steps=16)))
    passes = bench.engine.stopwatch.passes - before
    guessed = image_of(bench.events(bench.work(name, steps=16, step_cache=1.0)))
    assert bench.engine.stopwatch.passes - before - passes < passes
    assert guessed.size == whole.size


def test_one_that_cannot_says_so(bench: Bench) -> None:
    with pytest.raises(InvalidRequest, match="step_cache: cannot be used with the model tiny-z-image"):
        bench.work("tiny-z-image", step_cache=0.2)
