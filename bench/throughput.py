"""`python -m bench.throughput [MODEL ...]`: many users on one device: ours, compared with one picture after another.

Closed loop: 1, 4, 16 and 64 users, who request their next picture when the last is finished. Open loop: pictures
arrive at random times (Poisson) at 50 %, 80 % and 95 % of our capacity, with mixed sizes and 10 to 50 steps, and every
fifth is cancelled. The other contenders are the stock pipeline and the optimized one, called for one picture after
another, as a server without batching does; the open loop leaves out the optimized one, which would compile again for
each size. All get the same requests. Reported are pictures per second, seconds until a picture and until its first
step and preview, and how many forward passes the networks made. Pictures are compared first: of all contenders, and
one of ours from a batch with the same generated alone.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.contender_process import ContenderProcess, describe_machine, psnr, start_contenders
from bench.create_models import get_side, get_source
from bench.single import (
    CONTENDER_NAMES,
    MIN_PSNR_BY_DTYPE,
    check_agreement,
    compare_pictures,
    make_request,
    picture_file,
)
from bench.timing import save_model_result

USERS = (1, 4, 16, 64)
LOADS = (0.5, 0.8, 0.95)
STEPS = (10, 15, 20, 25, 30, 40, 50)
BATCHED_PICTURES = 8
CANCEL_EVERY = 5
MIN_SIDE = 128

Arrivals = Sequence[tuple[float, dict[str, Any]]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.throughput", description=__doc__)
    parser.add_argument("models", nargs="*", default=["thin-sd15", "embedded"], help="as for bench.single")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--side", type=int, help="side of the pictures in pixels; by default the model's own")
    parser.add_argument(
        "--contenders", nargs="*", default=CONTENDER_NAMES, choices=CONTENDER_NAMES, help="at least ours and plain"
    )
    parser.add_argument("--users", type=int, nargs="*", default=USERS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm", type=int, default=32, help="our pictures before timing begins")
    parser.add_argument("--arrivals", type=int, default=40, help="pictures at each rate; 0 skips the open loop")
    parser.add_argument("--folder", type=Path, help="folder in which models are kept between runs")
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        for model in arguments.models:
            row = measure_throughput(model, arguments, arguments.folder or Path(scratch))
            save_model_result("throughput", describe_machine(arguments.device), model, row)


def measure_throughput(model: str, arguments: Any, scratch: Path) -> dict[str, Any]:
    side = arguments.side or get_side(model)
    get_source(model, scratch)
    with start_contenders(arguments.contenders, model, scratch, arguments.device) as contenders:
        facts = contenders[1].call("facts", side=side, steps=arguments.steps)
        agreement = compare_pictures(
            contenders, make_request(side, arguments.steps, 0), scratch, MIN_PSNR_BY_DTYPE[facts["dtype"]]
        )
        batched_agreement = measure_batched_agreement(
            contenders[0], side, arguments.steps, scratch, MIN_PSNR_BY_DTYPE[facts["dtype"]]
        )
        for contender in contenders:  # Warms up, so that batch sizes are measured and networks compiled.
            contender.call(
                "load",
                arrivals=make_equal_arrivals(side, arguments.steps, arguments.warm if contender.name == "ours" else 2),
                users=16,
            )
        floor = facts["operations"] / facts["peak"]
        closed = {
            str(users): measure_closed_loop(
                contenders, make_equal_arrivals(side, arguments.steps, max(4, users)), users, arguments.rounds, floor
            )
            for users in arguments.users
        }
        capacity = closed[str(max(arguments.users))]["pictures a second"]["ours"]
        open_loop = (
            {
                f"{load:.0%}": measure_open_loop(
                    contenders[:2], make_mixed_arrivals(side, arguments.arrivals, load * capacity)
                )
                for load in LOADS
            }
            if arguments.arrivals
            else {}
        )
    return {
        "side": side,
        "steps": arguments.steps,
        "dtype": facts["dtype"],
        "agreement with plain in dB": agreement,
        "agreement of batched with alone in dB": batched_agreement,
        "floor in pictures a second": round(1 / floor, 3),
        "users": closed,
        "random arrivals, by share of our capacity": open_loop,
    }


def measure_batched_agreement(ours: ContenderProcess, side: int, steps: int, scratch: Path, min_psnr: float) -> float:
    """Returns the PSNR of a picture from a batch of BATCHED_PICTURES to the same generated alone, in dB."""
    batched = scratch / "batched.npy"
    ours.call(
        "load", arrivals=make_equal_arrivals(side, steps, BATCHED_PICTURES), users=BATCHED_PICTURES, save=str(batched)
    )
    return check_agreement({"batched": psnr(batched, picture_file(scratch, "ours"))}, min_psnr)["batched"]


def measure_closed_loop(
    contenders: list[ContenderProcess], arrivals: Arrivals, users: int, rounds: int, floor: float
) -> dict[str, Any]:
    """Returns rates and waiting times. The others generate only four pictures: they run one after another anyway."""
    rates: dict[str, list[float]] = {each.name: [] for each in contenders}
    facts: dict[str, Any] = {}
    for _ in range(rounds):
        for contender in contenders:
            own_arrivals = arrivals if contender.name == "ours" else arrivals[:4]
            answer = contender.call("load", arrivals=own_arrivals, users=users)
            rates[contender.name].append(len(own_arrivals) / max(each["ended"] for each in answer["timelines"]))
            facts[contender.name] = answer
    medians = {name: statistics.median(values) for name, values in rates.items()}
    steps = sum(each["steps"] for each in facts["ours"]["timelines"])
    return {
        "pictures a second": {name: round(value, 3) for name, value in medians.items()},
        **{f"times {name}": round(medians["ours"] / value, 2) for name, value in medians.items() if name != "ours"},
        "share of the floor": round(medians["ours"] * floor, 3),
        "passes a step": round(facts["ours"]["passes"] / steps, 3),
        "seconds to the first preview": quantiles(
            [each["first preview"] - each["arrived"] for each in facts["ours"]["timelines"] if "first preview" in each]
        ),
    }


def measure_open_loop(contenders: list[ContenderProcess], arrivals: Arrivals) -> dict[str, Any]:
    report: dict[str, Any] = {"pictures a second requested": round(len(arrivals) / arrivals[-1][0], 3)}
    for contender in contenders:
        answer = contender.call("load", arrivals=arrivals, cancel_every=CANCEL_EVERY)
        timelines = answer["timelines"]
        finished = [each for each in timelines if not each["cancelled"]]
        report[contender.name] = {
            "seconds to the picture": quantiles([each["ended"] - each["arrived"] for each in finished]),
            "seconds to the first step": quantiles(
                [each["first step"] - each["arrived"] for each in timelines if "first step" in each]
            ),
            "passes a step": round(answer["passes"] / sum(each["steps"] for each in timelines), 3),
        }
    return report


def quantiles(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return (
        {f"p{share}": round(ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 3) for share in (50, 95, 99)}
        if ordered
        else {}
    )


def make_equal_arrivals(side: int, steps: int, count: int) -> Arrivals:
    return [(0.0, make_request(side, steps, seed)) for seed in range(count)]


def make_mixed_arrivals(side: int, count: int, rate: float) -> Arrivals:
    """Returns requests of three sizes, the largest of which is the model's own, at least MIN_SIDE.

    Always the same ones.
    """
    chance, at, arrivals = random.Random(0), 0.0, []
    sides = [round(max(side, MIN_SIDE) * share) for share in (0.5, 0.75, 1)]
    for seed in range(count):
        at += chance.expovariate(rate)
        arrivals.append((at, make_request(chance.choice(sides), chance.choice(STEPS), seed)))
    return arrivals


if __name__ == "__main__":
    main()
