"""The documentation of the API is true: whatever is sent is answered as it says, and never with a crash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx

from tests.acceptance.conftest import ROOT, Studio

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_whatever_is_sent_is_answered_as_documented(stocked: Studio, tmp_path: Path) -> None:
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "run", f"{stocked.url}/openapi.json", "--checks", CHECKS,
        "--phases", "examples,fuzzing", "--max-examples", "3", "--seed", "1", "--request-timeout", "60",
        "--suppress-health-check", "all", "--generation-database", "none", "--continue-on-failure", "--no-color",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.acceptance.schemathesis_hooks"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=290, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:]
    assert httpx.get(f"{stocked.url}/readyz").status_code == 200


def test_every_route_is_documented_with_its_errors_and_how_to_sign_in(stocked: Studio) -> None:
    schema = httpx.get(f"{stocked.url}/openapi.json").json()
    assert set(schema["components"]["securitySchemes"]) == {"bearer", "basic", "cookie"}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            assert operation.get("description"), f"{method} {path} says nothing of itself"
            if not path.endswith("z"):
                assert {"400", "401", "404", "429", "503"} <= set(operation["responses"]), f"{method} {path}"


def test_the_documentation_needs_no_network(stocked: Studio) -> None:
    page = httpx.get(f"{stocked.url}/docs").text
    assert "https://" not in page
    for file in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert httpx.get(f"{stocked.url}/docs-assets/{file}").status_code == 200
