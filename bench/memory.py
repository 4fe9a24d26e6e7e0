"""`python -m bench.memory [MODEL ...]`: memory of the process that generates pictures.

Resident memory in MiB: with its libraries but no model, with the model, at its peak while 1, 4 and 16 pictures are
generated at a time, and after each ten of 50 further pictures, which shows whether it grows. On a GPU also the peak of
its memory. Compared with the stock pipeline, which generates one picture at a time.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.contender_process import ContenderProcess, describe_machine, start_contenders
from bench.create_models import get_side, get_source
from bench.single import make_request
from bench.timing import save_model_result

USERS = {"ours": (1, 4, 16), "plain": (1,)}
TENS = 5


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("models", nargs="*", default=["embedded"], help="as for bench.single")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--side", type=int, help="side of the pictures in pixels; by default the model's own")
    parser.add_argument("--tens", type=int, default=TENS, help="how many times ten further pictures are generated")
    parser.add_argument("--folder", type=Path, help="folder in which models are kept between runs")
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        for model in arguments.models:
            row = measure_memory(model, arguments, arguments.folder or Path(scratch))
            save_model_result("memory", describe_machine(arguments.device), model, row)


def measure_memory(model: str, arguments: Any, scratch: Path) -> dict[str, Any]:
    side = arguments.side or get_side(model)
    get_source(model, scratch)
    rows = {}
    for name in USERS:  # One after the other, so that their memory does not add up.
        with start_contenders([name], model, scratch, arguments.device) as (contender,):
            rows[name] = measure_contender(contender, side, arguments.steps, arguments.tens)
    return {"side": side, "steps": arguments.steps, "contenders": rows}


def measure_contender(contender: ContenderProcess, side: int, steps: int, tens: int) -> dict[str, Any]:
    at_a_time: dict[str, float] = {}
    on_gpu: dict[str, float] = {}
    for users in USERS[contender.name]:
        answer = contender.call("load", arrivals=pictures(side, steps, 2 * users), users=users)
        at_a_time[str(users)] = round(answer["peak resident"])
        if answer["GPU peak"] is not None:
            on_gpu[str(users)] = round(answer["GPU peak"])
    users = 4 if contender.name == "ours" else 1
    further = [
        round(contender.call("load", arrivals=pictures(side, steps, 10), users=users)["resident"]) for _ in range(tens)
    ]
    row = {
        "without a model": round(contender.started["resident empty"]),
        "with the model": round(contender.started["resident"]),
        "at most, so many at a time": at_a_time,
        "after each ten further pictures": further,
    }
    return row | ({"on the GPU at most, so many at a time": on_gpu} if on_gpu else {})


def pictures(side: int, steps: int, count: int) -> list[tuple[float, dict[str, Any]]]:
    return [(0.0, make_request(side, steps, seed)) for seed in range(count)]


if __name__ == "__main__":
    main()
