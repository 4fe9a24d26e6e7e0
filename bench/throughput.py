"""`python -m bench.throughput [MODEL ...]`: many users and one device: ours, beside one picture after another.

Closed loop: 1, 4, 16 and 64 users, each of whom asks for the next picture when he has had his last. Then the clock:
pictures that arrive at random (Poisson) at half, 80 % and 95 % of what ours can do, of mixed sizes and 10 to 50 steps,
every fifth of them cancelled. The other contender is the plain pipeline, called for one picture after another, as a
server without any batching does; both get the same requests. Told are pictures a second, seconds until a picture is
there and until its first preview, how many passes the networks made, and how long a newcomer waits for his first step,
in steps of those before him.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.networks import side_of, source_of
from bench.rivals import Rival, machine, rivals
from bench.single import asked
from bench.timing import RESULTS

USERS = (1, 4, 16, 64)
LOADS = (0.5, 0.8, 0.95)
STEPS = (10, 15, 20, 25, 30, 40, 50)
NAMES = ["ours", "plain"]
IMPATIENCE = 5

Arrivals = Sequence[tuple[float, dict[str, Any]]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.throughput", description=__doc__)
    parser.add_argument("models", nargs="*", default=["thin-sd15", "embedded"], help="as bench.single takes them")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--side", type=int, help="of the pictures, in pixels; left out, the model's own")
    parser.add_argument("--users", type=int, nargs="*", default=USERS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arrivals", type=int, default=40, help="pictures at each rate; 0 leaves the clock out")
    parser.add_argument("--folder", type=Path, help="where models are kept from one run to the next")
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        rows = {model: measured(model, arguments, arguments.folder or Path(scratch)) for model in arguments.models}
    command = f"python -m bench.throughput {' '.join(arguments.models)}"
    report = {"command": command, "machine": machine(arguments.device), "models": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "throughput.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


def measured(model: str, arguments: Any, scratch: Path) -> dict[str, Any]:
    side = arguments.side or side_of(model)
    source_of(model, scratch)
    threads = 1 if model.startswith("thin") else None
    with rivals(NAMES, model, scratch, arguments.device, threads) as found:
        for rival in found:  # Warm, and at its pace.
            rival.do("load", arrivals=same(side, arguments.steps, 32 if rival.name == "ours" else 2), users=16)
        facts = found[1].do("facts", side=side, steps=arguments.steps)
        floor = facts["operations"] / facts["peak"]
        closed = {
            str(users): closed_loop(found, same(side, arguments.steps, max(4, users)), users, arguments.rounds, floor)
            for users in arguments.users
        }
        capacity = closed[str(max(arguments.users))]["pictures a second"]["ours"]
        by_clock = (
            {f"{load:.0%}": clock(found, mixed(side, arguments.arrivals, load * capacity)) for load in LOADS}
            if arguments.arrivals
            else {}
        )
    return {
        "side": side,
        "steps": arguments.steps,
        "floor in pictures a second": round(1 / floor, 3),
        "users": closed,
        "by the clock, mixed, of what ours can do": by_clock,
    }


def closed_loop(found: list[Rival], arrivals: Arrivals, users: int, rounds: int, floor: float) -> dict[str, Any]:
    """The plain contender makes four pictures, however many ask: it makes one after another anyway."""
    rates: dict[str, list[float]] = {rival.name: [] for rival in found}
    facts: dict[str, Any] = {}
    for _ in range(rounds):
        for rival in found:
            wanted = arrivals if rival.name == "ours" else arrivals[:4]
            answer = rival.do("load", arrivals=wanted, users=users)
            rates[rival.name].append(len(wanted) / max(each["ended"] for each in answer["happenings"]))
            facts[rival.name] = answer
    medians = {name: statistics.median(values) for name, values in rates.items()}
    steps = sum(each["steps"] for each in facts["ours"]["happenings"])
    return {
        "pictures a second": {name: round(value, 3) for name, value in medians.items()},
        "times one after another": round(medians["ours"] / medians["plain"], 2),
        "share of the floor": round(medians["ours"] * floor, 3),
        "passes a step": round(facts["ours"]["passes"] / steps, 3),
        "seconds to the first preview": quantiles(
            [each["first preview"] - each["arrived"] for each in facts["ours"]["happenings"] if "first preview" in each]
        ),
    }


def clock(found: list[Rival], arrivals: Arrivals) -> dict[str, Any]:
    report: dict[str, Any] = {"pictures a second asked for": round(len(arrivals) / arrivals[-1][0], 3)}
    for rival in found:
        answer = rival.do("load", arrivals=arrivals, impatience=IMPATIENCE)
        happenings = answer["happenings"]
        finished = [each for each in happenings if not each["cancelled"]]
        report[rival.name] = {
            "seconds to the picture": quantiles([each["ended"] - each["arrived"] for each in finished]),
            "seconds to the first step": quantiles(
                [each["first step"] - each["arrived"] for each in happenings if "first step" in each]
            ),
            "passes a step": round(answer["passes"] / sum(each["steps"] for each in happenings), 3),
        }
    return report


def quantiles(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return (
        {f"p{share}": round(ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 3) for share in (50, 95, 99)}
        if ordered
        else {}
    )


def same(side: int, steps: int, count: int) -> Arrivals:
    return [(0.0, asked(side, steps, seed)) for seed in range(count)]


def mixed(side: int, count: int, rate: float) -> Arrivals:
    """Of three sizes, the largest the model's own. The same for everybody who asks."""
    chance, at, arrivals = random.Random(0), 0.0, []
    sides = [max(64, round(side * share / 64) * 64) for share in (0.5, 0.75, 1)]
    for seed in range(count):
        at += chance.expovariate(rate)
        arrivals.append((at, asked(chance.choice(sides), chance.choice(STEPS), seed)))
    return arrivals


if __name__ == "__main__":
    main()
