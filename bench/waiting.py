"""`python -m bench.waiting [MODEL ...]`: how long a new job waits on a device that is busy with jobs of others.

Eight pictures of 50 steps start at once; when half of all their steps are done, a newcomer requests one. Reported are
seconds until its first step, its first preview and its picture, and how many steps the others made until its first
step: all together, and the most of one. Compared with the stock pipeline, which generates one picture after another, so
that the newcomer waits for all earlier ones; it has no previews. Medians of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.contender_process import ContenderProcess, describe_machine, start_contenders
from bench.create_models import get_side, get_source
from bench.single import make_request
from bench.timing import save_model_result

NAMES = ["ours", "plain"]
MOMENTS = {"first step": "first step", "first preview": "first preview", "picture": "ended"}

Row = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.waiting", description=__doc__)
    parser.add_argument("models", nargs="*", default=["thin-sd15", "embedded"], help="as for bench.single")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--others", type=int, default=8)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--side", type=int, help="side of the pictures in pixels; by default the model's own")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="folder in which models are kept between runs")
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        for model in arguments.models:
            row = measure_waiting(model, arguments, arguments.folder or Path(scratch))
            save_model_result("waiting", describe_machine(arguments.device), model, row)


def measure_waiting(model: str, arguments: Any, scratch: Path) -> dict[str, Any]:
    side, others, steps = arguments.side or get_side(model), arguments.others, arguments.steps
    get_source(model, scratch)
    rows: dict[str, list[Row]] = {name: [] for name in NAMES}
    with start_contenders(NAMES, model, scratch, arguments.device) as contenders:
        for contender in contenders:  # Warms up, so that batch sizes are measured and networks compiled.
            pictures = others if contender.name == "ours" else 1
            contender.call(
                "load", arrivals=[(0, make_request(side, steps, seed)) for seed in range(pictures)], users=pictures
            )
        for _ in range(arguments.rounds):
            for contender in contenders:
                rows[contender.name].append(measure_newcomer(contender, side, steps, others))
    return {
        "side": side,
        "steps": steps,
        "others": others,
        "newcomer": {name: medians(each) for name, each in rows.items()},
        "sooner than with plain": {
            "first step": round(median(rows["plain"], "first step") / median(rows["ours"], "first step"), 1),
            "picture": round(median(rows["plain"], "picture") / median(rows["ours"], "picture"), 2),
        },
    }


def measure_newcomer(contender: ContenderProcess, side: int, steps: int, others: int) -> Row:
    arrivals = [(0, make_request(side, steps, seed)) for seed in range(others + 1)]
    *before, last = contender.call("join", arrivals=arrivals, steps=others * steps // 2)["timelines"]
    meanwhile = [each["steps meanwhile"] for each in before]
    seconds = {name: last[key] - last["arrived"] for name, key in MOMENTS.items() if key in last}
    return seconds | {"steps of all others": sum(meanwhile), "most steps of another": max(meanwhile)}


def median(rows: list[Row], name: str) -> float:
    return statistics.median(row[name] for row in rows)


def medians(rows: list[Row]) -> Row:
    return {name: round(median(rows, name), 4) for name in rows[0]}


if __name__ == "__main__":
    main()
