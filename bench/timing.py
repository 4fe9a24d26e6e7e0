"""Timing, and writing of results."""

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


def time_interleaved(functions: Mapping[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Returns median seconds of each function. They take turns, so that other load on the machine affects all equally.

    The first round is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(rounds + 1):
        for name, function in functions.items():
            began = time.perf_counter()
            function()
            if number:
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def get_command_line() -> str:
    """Returns the command line of this process, which runs a module or a package of `bench`."""
    file = Path(sys.argv[0])
    name = file.parent.name if file.stem == "__main__" else file.stem
    return f"python -m bench.{name} {shlex.join(sys.argv[1:])}".strip()


def describe_processors() -> str:
    return f"{platform.machine()}, {os.cpu_count()} processors"


def save_result(name: str, machine: str, facts: Mapping[str, Any]) -> None:
    """Writes a result with its command and machine, and prints it."""
    write_result(name, json.dumps({"command": get_command_line(), "machine": machine} | dict(facts), indent=1))


def save_model_result(name: str, machine: str, model: str, facts: Mapping[str, Any]) -> None:
    """Writes the result of one model. Results of other models on the same machine are kept."""
    file = RESULTS / f"{name}.json"
    before = json.loads(file.read_bytes()) if file.exists() else {}
    models = before.get("models", {}) if before.get("machine") == machine else {}
    models[model] = {"command": get_command_line()} | dict(facts)
    write_result(name, json.dumps({"machine": machine, "models": models}, indent=1))


def write_result(name: str, text: str) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print(text)
