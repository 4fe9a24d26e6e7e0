"""`python -m bench.low_memory [MODEL]`: each way to share a small GPU, beside the whole model on it.

For each: seconds of the second picture, the peak of the GPU's memory as the receipt of the job has it, and how far the
picture is from that of the whole model, in steps of 1/255. MODEL is one of bench.networks, sd15 when none is given. On
a CPU every way is the same; there it only shows that the script runs.
"""

from __future__ import annotations

import argparse
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import numpy as np
import torch

from bench.networks import KINDS, side_of, source_of
from bench.rivals import machine
from bench.timing import keep_model
from imagegen.engine.engine import Control, Engine, Finished, Work
from imagegen.engine.memory import Mode, give_back
from imagegen.info import ModelSource
from imagegen.schema import GenerationRequest


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.low_memory", description=__doc__)
    parser.add_argument("model", nargs="?", default="sd15", choices=KINDS)
    parser.add_argument("--side", type=int, help="of the pictures, in pixels; left out, the model's own")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="where models are kept from one run to the next")
    arguments = parser.parse_args()
    if KINDS[arguments.model].thin:
        torch.set_num_threads(1)  # With so few channels more of them only wait for each other.
    with TemporaryDirectory() as scratch:
        source = source_of(arguments.model, arguments.folder or Path(scratch))
        report = measured(source, arguments.side or side_of(arguments.model), arguments.steps)
    keep_model("low_memory", machine("auto"), arguments.model, report)


def measured(source: ModelSource, side: int, steps: int) -> dict[str, object]:
    facts = {"prompt": "a red circle", "width": side, "height": side, "steps": steps, "guidance_scale": 5, "seed": 1}
    work = Work(GenerationRequest.model_validate({**facts, "sampler": "Euler"}), source)
    ways: dict[str, dict[str, object]] = {}
    whole: np.ndarray | None = None
    for mode in get_args(Mode):
        finished = second_picture(mode, work)
        picture = np.asarray(finished.images[0], np.float32)
        whole = picture if whole is None else whole
        ways[mode] = {
            "seconds": finished.latency_ms / 1000,
            "vram_peak_mb": finished.vram_peak_mb,
            "largest difference": float(np.abs(picture - whole).max()),
        }
    return {"side": side, "steps": steps, "ways": ways}


def second_picture(mode: str, work: Work) -> Finished:
    """The first one also loads the model."""
    engine = Engine("auto", low_memory=mode)
    for _ in range(2):
        *_, last = engine.generate(work, Control(threading.Event(), threading.Event()))
    assert isinstance(last, Finished)
    engine.release(work.model.id)
    give_back()
    return last


if __name__ == "__main__":
    main()
