"""The version: `--version`, `GET /v1/status`, and what else the status states."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imagegen.access.keys import KeyStore
from imagegen.version import VERSION
from imagegen.workers.messages import ModelsInMemory
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio
from tests.unit.wait import let_tasks_settle

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def in_process_studio(tmp_path: Path) -> AsyncIterator[InProcessStudio]:
    async with run_in_process_studio(tmp_path) as running:
        yield running


def test_the_version_flag_prints_the_version_and_loads_nothing() -> None:
    command = [sys.executable, "-X", "importtime", "app.py", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{VERSION}\n"
    assert not {"gradio", "pydantic", "fastapi"} & set(re.findall(r"\w+", done.stderr))


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(
        r"^## \[?(\d+\.\d+\.\d+)\]? - \d{4}-\d{2}-\d{2}$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert versions[0] == VERSION


async def test_the_status_states_version_workers_and_models(in_process_studio: InProcessStudio) -> None:
    in_process_studio.worker.emit_report(ModelsInMemory(worker="cpu", models=("embedded", "mine")))
    await let_tasks_settle()
    status = (await in_process_studio.client_without_token.get("/v1/status")).json()
    nothing = {"pictures": 0, "size_bytes": 0}
    assert status == {
        "version": VERSION,
        "state": "ready",
        "default_model": "embedded",
        "is_administrator": True,
        "workers": [{"name": "cpu", "state": "ready", "models": ["embedded", "mine"]}],
        "library": nothing,
        "all_libraries": nothing,
    }


async def test_the_status_follows_the_worker(in_process_studio: InProcessStudio) -> None:
    in_process_studio.worker.report_gone("The device is missing.")
    await let_tasks_settle()
    status = (await in_process_studio.client_without_token.get("/v1/status")).json()
    assert (status["state"], status["workers"][0]["state"]) == ("unavailable", "unavailable")


async def test_the_status_is_documented(in_process_studio: InProcessStudio) -> None:
    schema = (await in_process_studio.client_without_token.get("/openapi.json")).json()
    assert schema["paths"]["/v1/status"]["get"]["description"]


async def test_the_status_needs_credentials(tmp_path: Path) -> None:
    key = KeyStore(tmp_path / "keys.json").add("alice")
    async with run_in_process_studio(tmp_path, access="keys", keys_file=tmp_path / "keys.json") as studio:
        assert (await studio.client_without_token.get("/v1/status")).status_code == 401
        async with studio.make_client(key) as client:
            answer = await client.get("/v1/status")
            assert (answer.status_code, answer.json()["is_administrator"]) == (200, False)
