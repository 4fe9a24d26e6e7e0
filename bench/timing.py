"""What the benches have in common."""

from __future__ import annotations

import json
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(os.environ.get("BENCH_RESULTS") or Path(__file__).parent / "results")
ROUNDS = 7


def interleaved(ways: Mapping[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Median seconds of each, one after the other in every round, so that a busy machine is busy for all of them.

    The first round is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if number:
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def command() -> str:
    """The one that runs now."""
    return f"python -m bench.{Path(sys.argv[0]).stem} {shlex.join(sys.argv[1:])}".strip()


def processors() -> str:
    return f"{platform.machine()}, {os.cpu_count()} processors"


def keep(name: str, machine: str, facts: Mapping[str, Any]) -> None:
    """Writes a result, with what made it, and prints it."""
    write(name, json.dumps({"command": command(), "machine": machine} | dict(facts), indent=1))


def keep_model(name: str, machine: str, model: str, facts: Mapping[str, Any]) -> None:
    """The same of one model. What was measured of others stays, when it was on the same machine."""
    file = RESULTS / f"{name}.json"
    before = json.loads(file.read_bytes()) if file.exists() else {}
    models = before.get("models", {}) if before.get("machine") == machine else {}
    models[model] = {"command": command()} | dict(facts)
    write(name, json.dumps({"machine": machine, "models": models}, indent=1))


def write(name: str, text: str) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print(text)
