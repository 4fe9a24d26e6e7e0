"""`python -m bench.waiting [MODEL ...]`: how long a newcomer waits on a device that is busy for others.

Eight pictures of 50 steps are begun at once; when half of all their steps are done, a newcomer asks for his. Told are
seconds until his first step, his first preview and his picture, and how many steps the others made until his first: all
of them together, and the one that made most. Beside ours stands the plain pipeline, which makes one picture after
another, so that he waits for those before him; it has no previews. Medians of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.networks import side_of, source_of
from bench.rivals import Rival, machine, rivals
from bench.single import asked
from bench.timing import keep_model

NAMES = ["ours", "plain"]
MOMENTS = {"first step": "first step", "first preview": "first preview", "picture": "ended"}

Row = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.waiting", description=__doc__)
    parser.add_argument("models", nargs="*", default=["thin-sd15", "embedded"], help="as bench.single takes them")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--others", type=int, default=8)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--side", type=int, help="of the pictures, in pixels; left out, the model's own")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where models are kept from one run to the next")
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        for model in arguments.models:
            row = measured(model, arguments, arguments.folder or Path(scratch))
            keep_model("waiting", machine(arguments.device), model, row)


def measured(model: str, arguments: Any, scratch: Path) -> dict[str, Any]:
    side, others, steps = arguments.side or side_of(model), arguments.others, arguments.steps
    source_of(model, scratch)
    rows: dict[str, list[Row]] = {name: [] for name in NAMES}
    with rivals(NAMES, model, scratch, arguments.device) as found:
        for rival in found:  # Warm, and at its pace.
            pictures = others if rival.name == "ours" else 1
            rival.do("load", arrivals=[(0, asked(side, steps, seed)) for seed in range(pictures)], users=pictures)
        for _ in range(arguments.rounds):
            for rival in found:
                rows[rival.name].append(newcomer(rival, side, steps, others))
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


def newcomer(rival: Rival, side: int, steps: int, others: int) -> Row:
    arrivals = [(0, asked(side, steps, seed)) for seed in range(others + 1)]
    *before, last = rival.do("join", arrivals=arrivals, steps=others * steps // 2)["happenings"]
    meanwhile = [each["steps meanwhile"] for each in before]
    seconds = {name: last[key] - last["arrived"] for name, key in MOMENTS.items() if key in last}
    return seconds | {"steps of all others": sum(meanwhile), "most steps of another": max(meanwhile)}


def median(rows: list[Row], name: str) -> float:
    return statistics.median(row[name] for row in rows)


def medians(rows: list[Row]) -> Row:
    return {name: round(median(rows, name), 4) for name in rows[0]}


if __name__ == "__main__":
    main()
