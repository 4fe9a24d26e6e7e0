"""Runs the tests of the scorecard, and says for each row whether they pass."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree as ET

from bench.processes import ROOT
from bench.soak.measurement import Measurement
from bench.soak.scorecard import Row

TIMEOUT_SECONDS = 1800


def measure_tests(rows: Iterable[Row]) -> list[Measurement]:
    """Runs all tests of the rows at once, so that they share studios. Returns one figure for each row with tests."""
    rows = [row for row in rows if row.tests]
    if not rows:
        return []
    failures = run_tests(sorted({test for row in rows for test in row.tests}))
    measurements = []
    for row in rows:
        failed = [test.partition("::test_")[2] for test in row.tests if failures.get(test, 1)]
        measured = f"failed: {', '.join(failed)}" if failed else "pass"
        measurements.append(Measurement(row.id, f"{len(row.tests)} tests", measured, "pass", not failed))
    return measurements


def run_tests(tests: Iterable[str]) -> Mapping[str, int]:
    """Returns how many cases of each test failed, by its id. A test that did not run is missing."""
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junit-xml={report}", *tests]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "OMP_WAIT_POLICY": "passive"},  # As in the Makefile.
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        if done.returncode:
            print(done.stdout[-8000:], done.stderr[-2000:])
        return count_failures(report) if report.exists() else {}


def count_failures(report: Path) -> Mapping[str, int]:
    failures: defaultdict[str, int] = defaultdict(int)
    for case in ET.parse(report).iter("testcase"):
        file = case.attrib["classname"].replace(".", "/")
        name = case.attrib["name"].partition("[")[0].partition("@")[0]
        failures[f"{file}.py::{name}"] += any(child.tag in ("failure", "error", "skipped") for child in case)
    return failures
