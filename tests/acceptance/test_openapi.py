"""The documentation of the API is correct: every request is answered as documented, and none crashes."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

from bench.soak.schema_cases import run_schemathesis
from tests.acceptance.conftest import Studio
from tests.acceptance.test_route_access import parse_access_table


def test_whatever_is_sent_is_answered_as_documented(hub_studio: Studio, tmp_path: Path) -> None:
    """The phase `coverage` takes a minute or more: `python -m bench.soak --rows B1` runs it too."""
    run = run_schemathesis(hub_studio.url, 3, tmp_path, seconds=290, phases="examples,fuzzing")
    assert run.exit_code == 0, run.output[-8000:]
    assert run.is_complete and run.untested == 0
    assert run.operations == len(list_operations(hub_studio))
    assert httpx.get(f"{hub_studio.url}/readyz").status_code == 200


def list_operations(studio: Studio) -> list[tuple[str, str]]:
    paths = httpx.get(f"{studio.url}/openapi.json").json()["paths"]
    return [(method, path) for path, operations in paths.items() for method in operations]


def test_each_route_of_a_door_for_programs_is_documented(hub_studio: Studio) -> None:
    """What is documented is what is tested above. test_route_access.py compares its table with the studio's routes."""
    routes = [route.replace(":path}", "}") for route in parse_access_table() if " /gradio_api" not in route]
    for_programs = {
        route for route in routes if re.match(r"[A-Z]+ (/v1/|/sdapi/|/controlnet/|/hf|/healthz|/readyz)", route)
    }
    documented = {f"{method.upper()} {path}" for method, path in list_operations(hub_studio)}
    assert documented == for_programs - {"ANY /v1/ws"}


def test_every_route_is_documented_with_its_errors_and_how_to_sign_in(hub_studio: Studio) -> None:
    schema = httpx.get(f"{hub_studio.url}/openapi.json").json()
    assert set(schema["components"]["securitySchemes"]) == {"bearer", "basic", "cookie"}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            assert operation.get("description"), f"{method} {path} says nothing of itself"
            if not path.endswith("z"):
                assert {"400", "401", "404", "429", "503"} <= set(operation["responses"]), f"{method} {path}"


def test_the_documentation_needs_no_network(hub_studio: Studio) -> None:
    page = httpx.get(f"{hub_studio.url}/docs").text
    assert "https://" not in page
    for file in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert httpx.get(f"{hub_studio.url}/docs-assets/{file}").status_code == 200
