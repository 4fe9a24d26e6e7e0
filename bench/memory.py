"""`python -m bench.memory [MODEL ...]`: what the process that makes pictures takes of memory.

In MiB, resident: with its libraries and no model yet, with the model, at its most while 1, 4 and 16 pictures are made
at a time, and after each ten of 50 further pictures, which shows whether it stays flat. On a GPU also the most that was
taken of its memory meanwhile. Beside ours stands the plain pipeline, which makes one picture at a time.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.networks import side_of, source_of
from bench.rivals import Rival, machine, rivals
from bench.single import asked
from bench.timing import keep_model

USERS = {"ours": (1, 4, 16), "plain": (1,)}
TENS = 5


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("models", nargs="*", default=["embedded"], help="as bench.single takes them")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--side", type=int, help="of the pictures, in pixels; left out, the model's own")
    parser.add_argument("--tens", type=int, default=TENS, help="how often ten further pictures are made")
    parser.add_argument("--folder", type=Path, help="where models are kept from one run to the next")
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        for model in arguments.models:
            row = measured(model, arguments, arguments.folder or Path(scratch))
            keep_model("memory", machine(arguments.device), model, row)


def measured(model: str, arguments: Any, scratch: Path) -> dict[str, Any]:
    side = arguments.side or side_of(model)
    source_of(model, scratch)
    rows = {}
    for name in USERS:  # One after the other: what one has in memory is nothing to the other.
        with rivals([name], model, scratch, arguments.device) as (rival,):
            rows[name] = taken(rival, side, arguments.steps, arguments.tens)
    return {"side": side, "steps": arguments.steps, "contenders": rows}


def taken(rival: Rival, side: int, steps: int, tens: int) -> dict[str, Any]:
    at_a_time: dict[str, float] = {}
    on_gpu: dict[str, float] = {}
    for users in USERS[rival.name]:
        answer = rival.do("load", arrivals=pictures(side, steps, 2 * users), users=users)
        at_a_time[str(users)] = round(answer["most resident"])
        if answer["peak of the GPU"] is not None:
            on_gpu[str(users)] = round(answer["peak of the GPU"])
    users = 4 if rival.name == "ours" else 1
    further = [
        round(rival.do("load", arrivals=pictures(side, steps, 10), users=users)["resident"]) for _ in range(tens)
    ]
    row = {
        "without a model": round(rival.started["resident empty"]),
        "with the model": round(rival.started["resident"]),
        "at most, so many at a time": at_a_time,
        "after each ten further pictures": further,
    }
    return row | ({"on the GPU at most, so many at a time": on_gpu} if on_gpu else {})


def pictures(side: int, steps: int, count: int) -> list[tuple[float, dict[str, Any]]]:
    return [(0.0, asked(side, steps, seed)) for seed in range(count)]


if __name__ == "__main__":
    main()
