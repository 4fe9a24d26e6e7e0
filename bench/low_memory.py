"""`python -m bench.low_memory [MODEL]`: each offload mode, compared with the whole model on the GPU.

Measures seconds of the second picture, the peak of GPU memory as in the receipt, and the largest difference to the
picture of the whole model, in steps of 1/255. MODEL is one of bench.create_models, sd15 by default. On a CPU all modes
are the same; there it only checks that the script runs.
"""

from __future__ import annotations

import argparse
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import numpy as np
import torch

from bench.contender_process import describe_machine
from bench.create_models import NETWORKS, get_side, get_source
from bench.timing import save_model_result
from imagegen.engine.engine import Engine, EngineResult, JobControl, JobInputs
from imagegen.engine.models.offload import OffloadMode
from imagegen.engine.models.out_of_memory import release_unused_memory
from imagegen.schema.models import ModelSource
from imagegen.schema.request import GenerationRequest


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.low_memory", description=__doc__)
    parser.add_argument("model", nargs="?", default="sd15", choices=NETWORKS)
    parser.add_argument("--side", type=int, help="side of the pictures in pixels; by default the model's own")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="folder in which models are kept between runs")
    arguments = parser.parse_args()
    if NETWORKS[arguments.model].thin:
        torch.set_num_threads(1)  # With so few channels, threads only wait for each other.
    with TemporaryDirectory() as scratch:
        source = get_source(arguments.model, arguments.folder or Path(scratch))
        report = measure_low_memory(source, arguments.side or get_side(arguments.model), arguments.steps)
    save_model_result("low_memory", describe_machine("auto"), arguments.model, report)


def measure_low_memory(source: ModelSource, side: int, steps: int) -> dict[str, object]:
    facts = {"prompt": "a red circle", "width": side, "height": side, "steps": steps, "guidance_scale": 5, "seed": 1}
    inputs = JobInputs(GenerationRequest.model_validate({**facts, "sampler": "Euler"}), source)
    results_by_mode: dict[str, dict[str, object]] = {}
    reference: np.ndarray | None = None
    for mode in get_args(OffloadMode):
        result = generate_second_picture(mode, inputs)
        picture = np.asarray(result.images[0], np.float32)
        reference = picture if reference is None else reference
        results_by_mode[mode] = {
            "seconds": result.latency_ms / 1000,
            "vram_peak_mb": result.vram_peak_mb,
            "largest difference": float(np.abs(picture - reference).max()),
        }
    return {"side": side, "steps": steps, "modes": results_by_mode}


def generate_second_picture(mode: str, inputs: JobInputs) -> EngineResult:
    """Returns the second of two pictures, because the first includes loading the model."""
    engine = Engine("auto", low_memory=mode)
    for _ in range(2):
        *_, last = engine.generate(inputs, JobControl(threading.Event(), threading.Event()))
    assert isinstance(last, EngineResult)
    assert inputs.model is not None
    engine.release(inputs.model.id)
    release_unused_memory()
    return last


if __name__ == "__main__":
    main()
