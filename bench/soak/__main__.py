"""`python -m bench.soak`: the scorecard: loads and faults that the studio must stand.

Each row is checked by tests, by a load or a fault made from outside of a real studio on the embedded model, or by both.
Exits with 1 if a row fails. Some figures are times: other load on the machine makes them worse, so that limits on them
are generous, or relative to something that is measured at the same time.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import import_module

from bench.soak.measurement import Measurement
from bench.soak.scorecard import SCORECARD, Row
from bench.soak.test_runs import measure_tests
from bench.timing import RESULTS, describe_processors, write_result

SCALES = {"small": 0.1, "full": 1.0}
COLUMNS = ("row", "what", "measured", "limit", "verdict")
MAX_WIDTHS = (4, 82, 48, 24, 12)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--rows", type=parse_rows, default=list(SCORECARD), help="such as L1,M1; by default all")
    parser.add_argument("--scale", choices=SCALES, default="full", help="small: a tenth of the load; writes no result")
    parser.add_argument("--without-tests", action="store_true", help="runs no tests; writes no result")
    arguments = parser.parse_args()
    measurements = run(arguments.rows, SCALES[arguments.scale], with_tests=not arguments.without_tests)
    if arguments.scale == "full" and not arguments.without_tests:
        save_rows(describe_processors(), arguments.rows, measurements)
    print(format_table(measurements))
    sys.exit(1 if any(measurement.passed is False for measurement in measurements) else 0)


def parse_rows(text: str) -> list[Row]:
    """Raises ArgumentTypeError for an unknown row."""
    rows = {row.id: row for row in SCORECARD}
    unknown = set(text.split(",")) - set(rows)
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))} is not one of {', '.join(rows)}")
    return [rows[name] for name in text.split(",")]


def run(rows: Sequence[Row], scale: float, with_tests: bool) -> list[Measurement]:
    """Returns the figures of the rows, in their order. Prints each as soon as it is there."""
    ids = [row.id for row in rows]
    measurements = []
    for function in dict.fromkeys(row.function for row in rows if row.function is not None):
        owner = next(row.id for row in rows if row.function == function)
        for measurement in measure(function, owner, scale):
            if measurement.row in ids:
                measurements.append(measurement)
                print(format_table([measurement], has_head=False), flush=True)
    if with_tests:
        measurements += measure_tests(rows)
    measurements += [
        Measurement(row.id, row.load, f"not built: {row.missing}", "", None) for row in rows if row.missing
    ]
    return sorted(measurements, key=lambda measurement: ids.index(measurement.row))


def measure(function: str, row: str, scale: float) -> list[Measurement]:
    """Calls a function of this package. An exception of it is a failure of the row."""
    module, _, name = function.partition(".")
    call: Callable[[float], list[Measurement]] = getattr(import_module(f"bench.soak.{module}"), name)
    try:
        return call(scale)
    except Exception as error:
        traceback.print_exc()
        return [Measurement(row, f"bench.soak.{function}", f"{type(error).__name__}: {error}"[:200], "", False)]


def save_rows(machine: str, rows: Sequence[Row], measurements: Sequence[Measurement]) -> None:
    """Writes the figures of the rows. Figures of other rows on the same machine are kept."""
    file = RESULTS / "soak.json"
    before = json.loads(file.read_bytes()) if file.exists() else {}
    figures = before["rows"] if before.get("machine") == machine else {}
    figures |= {row.id: [asdict(each) for each in measurements if each.row == row.id] for row in rows}
    ordered = {row.id: figures[row.id] for row in SCORECARD if row.id in figures}
    result = {"command": "python -m bench.soak", "machine": machine, "rows": ordered}
    write_result("soak", json.dumps(result, indent=1, ensure_ascii=False))


def format_table(measurements: Sequence[Measurement], has_head: bool = True) -> str:
    lines = [COLUMNS] if has_head else []
    lines += [(each.row, each.what, each.measured, each.limit, each.verdict) for each in measurements]
    return "\n".join(
        "  ".join(cell[:width].ljust(width) for cell, width in zip(line, MAX_WIDTHS, strict=True)).rstrip()
        for line in lines
    )


if __name__ == "__main__":
    main()
