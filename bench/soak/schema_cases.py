"""B1: schemathesis generates requests from the documentation of the API, for every documented route."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.processes import ROOT
from bench.soak.measurement import Measurement, exactly, scaled
from bench.soak.studio import UNLIMITED, run_studio

CASES = 2000
# Of each operation, in the phase that generates at random.
EXAMPLES = 20
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance"
)
TIMEOUT_SECONDS = 1800


@dataclass(frozen=True)
class SchemaRun:
    """`cases` are the requests that were sent, `operations` the documented ones, `untested` those without a request."""

    exit_code: int
    is_complete: bool
    cases: int
    operations: int
    untested: int
    output: str


def measure(scale: float) -> list[Measurement]:
    with TemporaryDirectory() as folder, run_studio(Path(folder), *UNLIMITED) as studio:
        run = run_schemathesis(studio.url, scaled(EXAMPLES, scale, 1), Path(folder), TIMEOUT_SECONDS)
        status = studio.get_status("/readyz")
    if run.exit_code:
        print(run.output[-8000:])
    return [
        Measurement("B1", "generated requests", f"{run.cases:,}", f"≥ {CASES:,}", run.cases >= CASES),
        exactly("B1", f"documented operations without a request, of {run.operations}", run.untested, 0),
        exactly("B1", "all phases ran to their end", run.is_complete, True),
        exactly("B1", "exit code of schemathesis", run.exit_code, 0),
        exactly("B1", "/readyz afterwards", status, 200),
    ]


def run_schemathesis(
    url: str, max_examples: int, folder: Path, seconds: float, phases: str = "examples,coverage,fuzzing"
) -> SchemaRun:
    """Runs schemathesis until all operations have been tested, whatever fails. Raises TimeoutExpired.

    `max_examples` is how many requests are sent to each operation in a phase, at most, except the phase `coverage`,
    which sends one for each boundary of each field. The report lies in `folder` afterwards.
    """
    report = folder / "schemathesis.json"
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "run", f"{url}/openapi.json", "--checks", CHECKS,
        "--phases", phases, "--max-examples", str(max_examples), "--seed", "1", "--request-timeout", "60",
        "--suppress-health-check", "all", "--generation-database", "none", "--continue-on-failure", "--no-color",
        "--report-json-path", str(report),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "bench.soak.schemathesis_hooks"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )
    facts = json.loads(report.read_bytes()) if report.exists() else {"operations": {}, "test_cases": {}}
    operations = facts["operations"]
    return SchemaRun(
        exit_code=done.returncode,
        is_complete=bool(facts.get("complete")),
        cases=operations and facts["test_cases"]["generated"],
        operations=operations.get("selected", 0),
        untested=operations.get("total", 0) - operations.get("tested", 0),
        output=done.stdout + done.stderr,
    )
