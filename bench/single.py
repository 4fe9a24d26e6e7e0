"""`python -m bench.single [MODEL ...]`: one picture, one user: ours, the plain diffusers call, and the best by hand.

Each contender is a process of its own; they take turns. Before anything is timed, the pictures are compared. For each
model: seconds of the median picture, the floor, which is the counted operations over what the device does in a second,
and ratios to both.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.networks import side_of, source_of
from bench.rivals import Rival, machine, psnr, rivals
from bench.timing import keep_model

NAMES = ["ours", "plain", "by hand"]
AGREES = {"float32": 50.0, "float16": 30.0, "bfloat16": 30.0}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.single", description=__doc__)
    parser.add_argument(
        "models", nargs="*", default=["embedded", "thin-sd15"], help="embedded, sd15, sdxl, thin-sd15, …"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--side", type=int, help="of the pictures, in pixels; left out, the model's own")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--contenders", nargs="*", default=NAMES, choices=NAMES, help="ours and plain, at least")
    parser.add_argument("--warm", type=int, default=2, help="pictures of each before any is timed")
    parser.add_argument("--compile", type=Path, help="compile networks, and keep ours in this folder")
    parser.add_argument("--settle", type=float, default=600, help="seconds that compiling may take")
    parser.add_argument("--folder", type=Path, help="where models are kept from one run to the next")
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        for model in arguments.models:
            row = measured(model, arguments, arguments.folder or Path(scratch))
            kept = f"{model}, compiled" if arguments.compile else model
            keep_model("single", machine(arguments.device), kept, row)


def measured(model: str, arguments: Any, scratch: Path) -> dict[str, Any]:
    side = arguments.side or side_of(model)
    source_of(model, scratch)
    with rivals(arguments.contenders, model, scratch, arguments.device, arguments.compile) as found:
        facts = next(rival for rival in found if rival.name == "plain").do("facts", side=side, steps=arguments.steps)
        if arguments.compile:
            for rival in found:
                rival.do("settle", request=asked(side, arguments.steps, 2), seconds=arguments.settle)
        agreement = compared(found, asked(side, arguments.steps, 1), scratch, AGREES[facts["dtype"]])
        for _ in range(arguments.warm):
            for rival in found:
                rival.do("single", request=asked(side, arguments.steps, 2))
        seconds: dict[str, list[float]] = {rival.name: [] for rival in found}
        for number in range(arguments.rounds):
            for rival in found:
                answer = rival.do("single", request=asked(side, arguments.steps, number))
                seconds[rival.name].append(answer["seconds"])
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    floor = facts["operations"] / facts["peak"]
    return {
        "side": side,
        "steps": arguments.steps,
        "dtype": facts["dtype"],
        "teraflop a picture": float(f"{facts['operations'] / 1e12:.3g}"),
        "floor in seconds": round(floor, 4),
        "seconds": {name: round(value, 4) for name, value in medians.items()},
        "fastest": {name: round(min(values), 4) for name, values in seconds.items()},
        "ratio to the floor": {name: round(value / floor, 2) for name, value in medians.items()},
        **{f"times as fast as {name}": round(medians[name] / medians["ours"], 3) for name in medians if name != "ours"},
        "agreement with plain in dB": agreement,
    }


def compared(found: list[Rival], request: dict[str, Any], scratch: Path, least: float) -> dict[str, float]:
    """Of each contender's picture with the plain one. Raises SystemExit where one paints another picture."""
    files = {rival.name: picture_file(scratch, rival.name) for rival in found}
    for rival in found:
        rival.do("single", request=request, save=str(files[rival.name]))
    return agreeing({name: psnr(file, files["plain"]) for name, file in files.items() if name != "plain"}, least)


def agreeing(agreement: dict[str, float], least: float) -> dict[str, float]:
    if min(agreement.values(), default=least) < least:
        raise SystemExit(f"The pictures do not agree, in dB: {agreement}")
    return agreement


def picture_file(scratch: Path, name: str) -> Path:
    return scratch / f"{name.replace(' ', '-')}.npy"


def asked(side: int, steps: int, seed: int) -> dict[str, Any]:
    return {
        "prompt": "a sailing boat on a lake at sunset, watercolor",
        "width": side,
        "height": side,
        "steps": steps,
        "guidance_scale": 5.0,
        "sampler": "Euler",
        "seed": seed,
    }


if __name__ == "__main__":
    main()
