"""`python -m bench.embedded`: the embedded model on this machine's processor, through the engine.

Seconds of the median picture of 20 steps once warm, beside the plain diffusers call in the same run; milliseconds of a
preview; the most memory that this process took.
"""

from __future__ import annotations

import json
import platform
import resource
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoPipelineForText2Image

from imagegen.engine.engine import Control, Engine, Finished, Work
from imagegen.engine.previews import preview, projection_for
from imagegen.library.models import Models
from imagegen.library.snapshots import Snapshots
from imagegen.schema import GenerationRequest
from imagegen.settings import ASSETS
from imagegen.validation import resolved

PROMPT = "a sailing boat on a lake at sunset, watercolor"
ROUNDS = 7
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    model = Models(ASSETS, ASSETS, Snapshots()).get("embedded")
    assert model.source is not None
    engine, source = Engine("cpu"), model.source
    plain = AutoPipelineForText2Image.from_pretrained(source.path, dtype=torch.float32)
    plain.set_progress_bar_config(disable=True)
    request = resolved(GenerationRequest(prompt=PROMPT, steps=20), model.info, seed=1)

    def ours() -> None:
        *_, last = engine.generate(Work(request, source), Control(threading.Event(), threading.Event()))
        assert isinstance(last, Finished)

    def theirs() -> None:
        plain(PROMPT, num_inference_steps=20, guidance_scale=model.info.guidance_scale, generator=torch.Generator())

    seconds = interleaved({"ours": ours, "plain diffusers": theirs})
    projection = projection_for(source.path, source.pipeline, 4)
    assert projection is not None
    latents = torch.randn(1, 4, 16, 16)
    (preview_seconds,) = interleaved({"preview": lambda: preview(latents, projection)}, rounds=200).values()
    report = {
        "command": "python -m bench.embedded",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "ratio to plain diffusers": round(seconds["ours"] / seconds["plain diffusers"], 3),
        "preview_ms": round(preview_seconds * 1000, 3),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "embedded.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


def interleaved(contenders: dict[str, Callable[[], Any]], rounds: int = ROUNDS) -> dict[str, float]:
    """The median seconds of each, measured in turns after one round that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, run in contenders.items():
            began = time.perf_counter()
            run()
            if number:
                times[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in times.items()}


if __name__ == "__main__":
    main()
