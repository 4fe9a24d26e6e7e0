"""`python -m bench.single [MODEL ...]`: one picture for one user: ours, the stock pipeline, and the optimized pipeline.

Each contender has its own process; they take turns. Their pictures are compared before anything is timed. Reports for
each model: seconds of the median picture; the floor, which is the counted operations over the device's peak rate; and
the ratios to both.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.contender_process import ContenderProcess, describe_machine, psnr, start_contenders
from bench.create_models import get_side, get_source
from bench.timing import save_model_result

CONTENDER_NAMES = ["ours", "plain", "by hand"]
MIN_PSNR_BY_DTYPE = {"float32": 50.0, "float16": 30.0, "bfloat16": 30.0}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.single", description=__doc__)
    parser.add_argument(
        "models", nargs="*", default=["embedded", "thin-sd15"], help="embedded, sd15, sdxl, thin-sd15, …"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--side", type=int, help="side of the pictures in pixels; by default the model's own")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--contenders", nargs="*", default=CONTENDER_NAMES, choices=CONTENDER_NAMES, help="at least ours and plain"
    )
    parser.add_argument("--warm", type=int, default=2, help="pictures per contender before timing begins")
    parser.add_argument("--compile", type=Path, help="compile networks, and cache ours in this folder")
    parser.add_argument("--settle", type=float, default=600, help="seconds to wait for compiling")
    parser.add_argument("--folder", type=Path, help="folder in which models are kept between runs")
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        for model in arguments.models:
            row = measure_single(model, arguments, arguments.folder or Path(scratch))
            result_name = f"{model}, compiled" if arguments.compile else model
            save_model_result("single", describe_machine(arguments.device), result_name, row)


def measure_single(model: str, arguments: Any, scratch: Path) -> dict[str, Any]:
    side = arguments.side or get_side(model)
    get_source(model, scratch)
    with start_contenders(arguments.contenders, model, scratch, arguments.device, arguments.compile) as contenders:
        facts = next(each for each in contenders if each.name == "plain").call(
            "facts", side=side, steps=arguments.steps
        )
        if arguments.compile:
            for contender in contenders:
                contender.call("settle", request=make_request(side, arguments.steps, 2), seconds=arguments.settle)
        agreement = compare_pictures(
            contenders, make_request(side, arguments.steps, 1), scratch, MIN_PSNR_BY_DTYPE[facts["dtype"]]
        )
        for _ in range(arguments.warm):
            for contender in contenders:
                contender.call("single", request=make_request(side, arguments.steps, 2))
        seconds: dict[str, list[float]] = {each.name: [] for each in contenders}
        for number in range(arguments.rounds):
            for contender in contenders:
                answer = contender.call("single", request=make_request(side, arguments.steps, number))
                seconds[contender.name].append(answer["seconds"])
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


def compare_pictures(
    contenders: list[ContenderProcess], request: dict[str, Any], scratch: Path, min_psnr: float
) -> dict[str, float]:
    """Returns the PSNR of each contender's picture to the plain one, in dB. Raises SystemExit below `min_psnr`."""
    files = {each.name: picture_file(scratch, each.name) for each in contenders}
    for contender in contenders:
        contender.call("single", request=request, save=str(files[contender.name]))
    return check_agreement(
        {name: psnr(file, files["plain"]) for name, file in files.items() if name != "plain"}, min_psnr
    )


def check_agreement(agreement: dict[str, float], min_psnr: float) -> dict[str, float]:
    if min(agreement.values(), default=min_psnr) < min_psnr:
        raise SystemExit(f"The pictures do not agree, in dB: {agreement}")
    return agreement


def picture_file(scratch: Path, name: str) -> Path:
    return scratch / f"{name.replace(' ', '-')}.npy"


def make_request(side: int, steps: int, seed: int) -> dict[str, Any]:
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
