"""`python -m bench.step_cache`: what is saved, and lost, where steps are guessed. On the embedded model: it is trained.

For each threshold: how many of the steps were computed, seconds beside those of all steps, and how near the pictures
are to those of all steps, in dB: the median and the worst of some prompts and seeds. Apart from the other benches,
since it paints other pictures.
"""

from __future__ import annotations

import statistics
import threading
import time
from typing import Any

import numpy as np

from bench.networks import embedded
from bench.timing import keep, processors
from imagegen.engine.engine import Control, Engine, Finished, Work
from imagegen.schema import GenerationRequest
from imagegen.validation import resolved

PROMPTS = (
    "a sailing boat on a lake at sunset, watercolor",
    "a red circle on a blue background",
    "snowy mountains at night with a full moon",
    "a small yellow star on a purple background",
)
THRESHOLDS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
STEPS = (20, 50)


def main() -> None:
    model = embedded()
    assert model.source is not None
    engine, source, info = Engine("cpu"), model.source, model.info

    def picture(prompt: str, seed: int, steps: int, threshold: float) -> tuple[Any, int, float]:
        wanted = GenerationRequest(prompt=prompt, steps=steps, step_cache=threshold)
        began, before = time.perf_counter(), engine.stopwatch.passes
        *_, last = engine.generate(
            Work(resolved(wanted, info, seed), source), Control(threading.Event(), threading.Event())
        )
        assert isinstance(last, Finished)
        passes = engine.stopwatch.passes - before - 1  # One decodes.
        return np.asarray(last.images[0], np.float64), passes, time.perf_counter() - began

    picture(PROMPTS[0], 0, 5, 0.0)
    rows = {}
    for steps in STEPS:
        made = {threshold: list[Any]() for threshold in THRESHOLDS}
        for seed, prompt in enumerate(PROMPTS):
            for threshold in THRESHOLDS:
                made[threshold].append(picture(prompt, seed, steps, threshold))
        whole = made[0.0]
        for threshold in THRESHOLDS[1:]:
            near = [psnr(each[0], exact[0]) for each, exact in zip(made[threshold], whole, strict=True)]
            spent = [each[2] / exact[2] for each, exact in zip(made[threshold], whole, strict=True)]
            rows[f"{steps} steps, {threshold:g}"] = {
                "steps computed": statistics.median(each[1] for each in made[threshold]),
                "share of the seconds": round(statistics.median(spent), 2),
                "dB": {"median": round(statistics.median(near), 1), "worst": round(min(near), 1)},
            }
    keep("step_cache", f"{processors()}, no GPU", {"thresholds": rows})


def psnr(first: Any, second: Any) -> float:
    error = float(((first - second) ** 2).mean())
    return 99.0 if error == 0 else min(99.0, float(10 * np.log10(255**2 / error)))


if __name__ == "__main__":
    main()
