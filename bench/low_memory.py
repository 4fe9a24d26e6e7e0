"""`python -m bench.low_memory [folder]`: each way to share a small GPU, beside the whole model on it.

For each: seconds of the second picture, the peak of the GPU's memory as the receipt of the job has it, and how far the
picture is from that of the whole model, in steps of 1/255. Given no model, one of the size of Stable Diffusion 1.5 is
made, with random weights. On a CPU every way is the same; there it only shows that the script runs.
"""

from __future__ import annotations

import argparse
import json
import platform
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import numpy as np
import torch

from bench.models import made
from bench.timing import RESULTS
from imagegen.engine.engine import Control, Engine, Finished, Work
from imagegen.engine.memory import Mode, give_back
from imagegen.info import ModelSource
from imagegen.schema import GenerationRequest


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.low_memory", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="a model in diffusers format, of Stable Diffusion 1")
    parser.add_argument("--side", type=int, default=512, help="of the pictures, in pixels")
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        folder = arguments.folder or made(Path(scratch))
        report = measured(folder, arguments.side, arguments.steps)
    (RESULTS / "low_memory.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


def measured(folder: Path, side: int, steps: int) -> dict[str, object]:
    source = ModelSource(id="it", name="it", pipeline="StableDiffusionPipeline", path=folder.absolute())
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
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return {"command": "python -m bench.low_memory", "machine": f"{platform.machine()}, {device}", "ways": ways}


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
