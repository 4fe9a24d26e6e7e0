"""`python -m bench.throughput [MODEL ...]`: many users and one device: ours, beside one picture after another.

Closed loop: 1, 4, 16 and 64 users, each of whom asks for the next picture when he has had his last. Then the clock:
pictures that arrive at random (Poisson) at half, 80 % and 95 % of what ours can do, of mixed sizes and 10 to 50 steps,
every fifth of them cancelled. The other contenders are the plain pipeline and the best by hand, called for one picture
after another, as a server without any batching does; the clock leaves the latter out, whose networks would be compiled
anew for each size. All get the same requests. Told are pictures a second, seconds until a picture is there and until
its first step and preview, and how many passes the networks made. First the pictures are compared: of all contenders,
and one of ours that was made in company with the same made alone.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.networks import side_of, source_of
from bench.rivals import Rival, machine, psnr, rivals
from bench.single import AGREES, NAMES, agreeing, asked, compared, picture_file
from bench.timing import keep_model

USERS = (1, 4, 16, 64)
LOADS = (0.5, 0.8, 0.95)
STEPS = (10, 15, 20, 25, 30, 40, 50)
COMPANY = 8
IMPATIENCE = 5
LEAST = 128

Arrivals = Sequence[tuple[float, dict[str, Any]]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.throughput", description=__doc__)
    parser.add_argument("models", nargs="*", default=["thin-sd15", "embedded"], help="as bench.single takes them")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--side", type=int, help="of the pictures, in pixels; left out, the model's own")
    parser.add_argument("--contenders", nargs="*", default=NAMES, choices=NAMES, help="ours, plain, and what else")
    parser.add_argument("--users", type=int, nargs="*", default=USERS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm", type=int, default=32, help="pictures of ours before any is timed")
    parser.add_argument("--arrivals", type=int, default=40, help="pictures at each rate; 0 leaves the clock out")
    parser.add_argument("--folder", type=Path, help="where models are kept from one run to the next")
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        for model in arguments.models:
            row = measured(model, arguments, arguments.folder or Path(scratch))
            keep_model("throughput", machine(arguments.device), model, row)


def measured(model: str, arguments: Any, scratch: Path) -> dict[str, Any]:
    side = arguments.side or side_of(model)
    source_of(model, scratch)
    with rivals(arguments.contenders, model, scratch, arguments.device) as found:
        facts = found[1].do("facts", side=side, steps=arguments.steps)
        agreement = compared(found, asked(side, arguments.steps, 0), scratch, AGREES[facts["dtype"]])
        in_company = accompanied(found[0], side, arguments.steps, scratch, AGREES[facts["dtype"]])
        for rival in found:  # Warm, and at its pace.
            rival.do(
                "load", arrivals=same(side, arguments.steps, arguments.warm if rival.name == "ours" else 2), users=16
            )
        floor = facts["operations"] / facts["peak"]
        closed = {
            str(users): closed_loop(found, same(side, arguments.steps, max(4, users)), users, arguments.rounds, floor)
            for users in arguments.users
        }
        capacity = closed[str(max(arguments.users))]["pictures a second"]["ours"]
        by_clock = (
            {f"{load:.0%}": clock(found[:2], mixed(side, arguments.arrivals, load * capacity)) for load in LOADS}
            if arguments.arrivals
            else {}
        )
    return {
        "side": side,
        "steps": arguments.steps,
        "dtype": facts["dtype"],
        "agreement with plain in dB": agreement,
        "agreement of one in company with the same alone in dB": in_company,
        "floor in pictures a second": round(1 / floor, 3),
        "users": closed,
        "by the clock, mixed, of what ours can do": by_clock,
    }


def accompanied(ours: Rival, side: int, steps: int, scratch: Path, least: float) -> float:
    """How well a picture agrees with the same when others were made at the same time, in dB."""
    together = scratch / "together.npy"
    ours.do("load", arrivals=same(side, steps, COMPANY), users=COMPANY, save=str(together))
    return agreeing({"in company": psnr(together, picture_file(scratch, "ours"))}, least)["in company"]


def closed_loop(found: list[Rival], arrivals: Arrivals, users: int, rounds: int, floor: float) -> dict[str, Any]:
    """The others make four pictures, however many ask: they make one after another anyway."""
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
        **{f"times {name}": round(medians["ours"] / value, 2) for name, value in medians.items() if name != "ours"},
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
    """Of three sizes, the largest the model's own, and no smaller than what a request may ask for.

    The same for everybody who asks.
    """
    chance, at, arrivals = random.Random(0), 0.0, []
    sides = [round(max(side, LEAST) * share) for share in (0.5, 0.75, 1)]
    for seed in range(count):
        at += chance.expovariate(rate)
        arrivals.append((at, asked(chance.choice(sides), chance.choice(STEPS), seed)))
    return arrivals


if __name__ == "__main__":
    main()
