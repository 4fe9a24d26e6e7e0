"""`python -m bench.step_cache`: time saved and quality lost by step caching, on the embedded model, which is trained.

Reports for each threshold: how many steps were computed, seconds relative to computing all steps, and the PSNR to the
pictures of all steps in dB, as the median and the worst of some prompts and seeds. Separate from the other benches,
because the pictures differ.
"""

from __future__ import annotations

import statistics
import threading
import time
from typing import Any

import numpy as np

from bench.create_models import find_embedded_model
from bench.timing import describe_processors, save_result
from imagegen.engine.engine import Engine, EngineResult, JobControl, JobInputs
from imagegen.schema.request import GenerationRequest
from imagegen.schema.validation import fill_in_defaults

PROMPTS = (
    "a sailing boat on a lake at sunset, watercolor",
    "a red circle on a blue background",
    "snowy mountains at night with a full moon",
    "a small yellow star on a purple background",
)
THRESHOLDS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
STEPS = (20, 50)


def main() -> None:
    model = find_embedded_model()
    assert model.source is not None
    engine, source, info = Engine("cpu"), model.source, model.info

    def picture(prompt: str, seed: int, steps: int, threshold: float) -> tuple[Any, int, float]:
        request = GenerationRequest(prompt=prompt, steps=steps, step_cache=threshold)
        began, before = time.perf_counter(), engine.pass_timer.passes
        *_, last = engine.generate(
            JobInputs(fill_in_defaults(request, info, seed), source), JobControl(threading.Event(), threading.Event())
        )
        assert isinstance(last, EngineResult)
        passes = engine.pass_timer.passes - before - 1  # One pass decodes.
        return np.asarray(last.images[0], np.float64), passes, time.perf_counter() - began

    picture(PROMPTS[0], 0, 5, 0.0)
    rows = {}
    for steps in STEPS:
        results = {threshold: list[Any]() for threshold in THRESHOLDS}
        for seed, prompt in enumerate(PROMPTS):
            for threshold in THRESHOLDS:
                results[threshold].append(picture(prompt, seed, steps, threshold))
        exact_results = results[0.0]
        for threshold in THRESHOLDS[1:]:
            decibels = [psnr(each[0], exact[0]) for each, exact in zip(results[threshold], exact_results, strict=True)]
            shares = [each[2] / exact[2] for each, exact in zip(results[threshold], exact_results, strict=True)]
            rows[f"{steps} steps, {threshold:g}"] = {
                "steps computed": statistics.median(each[1] for each in results[threshold]),
                "share of the seconds": round(statistics.median(shares), 2),
                "dB": {"median": round(statistics.median(decibels), 1), "worst": round(min(decibels), 1)},
            }
    save_result("step_cache", f"{describe_processors()}, no GPU", {"thresholds": rows})


def psnr(first: Any, second: Any) -> float:
    error = float(((first - second) ** 2).mean())
    return 99.0 if error == 0 else min(99.0, float(10 * np.log10(255**2 / error)))


if __name__ == "__main__":
    main()
