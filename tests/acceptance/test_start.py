"""The start of a real studio: what is wrong is said in a sentence, with status 1, and nothing stays behind."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.conftest import ROOT, Studio, free_port, make_client, running_studio
from tests.acceptance.test_server import list_children, wait_for

PAGE_BYTES = 4096


def build_command(folder: Path, *flags: str) -> list[str]:
    folders = ["--data-dir", str(folder / "data"), "--models-dir", str(folder / "models")]
    return [sys.executable, "app.py", "--port", str(free_port()), *folders, *flags]


def start_in_vain(folder: Path, *flags: str) -> str:
    """Returns the line that a studio writes to standard error when it does not start."""
    command = build_command(folder, *flags)
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stdout + ended.stderr
    (line,) = ended.stderr.splitlines()
    return line


def test_a_second_studio_on_the_folder_of_a_running_one_is_refused(studio: Studio) -> None:
    line = start_in_vain(studio.data_dir.parent)
    assert line == (
        f"Another studio uses the data folder {studio.data_dir.resolve()}."
        " End it, or choose another folder with --data-dir."
    )
    with make_client(studio) as client:
        assert client.get("/readyz").status_code == 200
        assert client.post("/v1/txt2img", json={"prompt": "a red circle", "steps": 1}).status_code == 200


def test_a_port_that_is_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        line = start_in_vain(tmp_path, "--port", str(port))
    assert line.startswith(
        f"The studio cannot listen on 127.0.0.1, port {port}, because another program uses this port"
    )
    assert "--port" in line


def test_a_data_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    assert start_in_vain(tmp_path) == (
        f"The folder {tmp_path / 'data'} cannot be used: it is not a folder. Choose another with --data-dir."
    )


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    pictures = tmp_path / "data" / "pictures"
    pictures.parent.mkdir()
    pictures.touch()
    assert start_in_vain(tmp_path) == f"The studio cannot use {pictures}: file exists."


def make_pictures(studio: Studio, count: int) -> dict[str, bytes]:
    """Returns the content of the pictures by their ids."""
    with make_client(studio) as client:
        pictures = {}
        for _ in range(count):
            answer = client.post("/v1/txt2img", json={"prompt": "a red circle", "steps": 1}).raise_for_status().json()
            pictures[answer["id"]] = client.get(f"/v1/images/{answer['id']}").raise_for_status().content
        return pictures


def damage(path: Path) -> None:
    """Overwrites the page with the list of tables, and one in the middle."""
    pages = path.stat().st_size // PAGE_BYTES
    with path.open("r+b") as file:
        for page in (0, pages // 2):
            file.seek(page * PAGE_BYTES)
            file.write(b"\xa5" * PAGE_BYTES)


def test_a_damaged_database_is_named_and_recover_keeps_what_can_be_read(tmp_path: Path) -> None:
    with running_studio(tmp_path) as studio:
        pictures = make_pictures(studio, 3)
    database = tmp_path / "data" / "jobs.sqlite"
    damage(database)
    line = start_in_vain(tmp_path)
    assert line == (
        f"The database {database} cannot be used, because it is damaged."
        " Start with --recover to keep what can be read of it, or replace it with a backup."
    )
    with running_studio(tmp_path, "--recover") as studio, make_client(studio) as client:
        log = [json.loads(line) for line in studio.log.read_text().splitlines()]
        (recovered,) = [entry["message"] for entry in log if entry.get("action") == "database_recovered"]
        assert " jobs, " in recovered and " events and " in recovered
        assert str(database.with_name("jobs.damaged-1.sqlite")) in recovered
        answers = {each: client.get(f"/v1/images/{each}") for each in pictures}
        kept = {each: answer.content for each, answer in answers.items() if answer.status_code == 200}
        assert f"{len(kept)} pictures were kept" in recovered
        assert kept == {each: pictures[each] for each in kept}
        assert client.post("/v1/txt2img", json={"prompt": "a red circle", "steps": 1}).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_studio_that_is_stopped_while_it_starts_ends_soon(tmp_path: Path, number: signal.Signals) -> None:
    """The page is served; the engine needs seconds more."""
    with running_studio(tmp_path, until="healthz") as studio:
        wait_for(lambda: list_children(studio), seconds=10)
        engine = studio.engine_pid
        studio.process.send_signal(number)
        assert studio.process.wait(10) == 0
        wait_for(lambda: not Path(f"/proc/{engine}").exists(), seconds=10)
        assert "Traceback" not in studio.log.read_text()


def test_a_studio_that_is_stopped_before_it_has_a_page_ends_at_once(tmp_path: Path) -> None:
    with subprocess.Popen(build_command(tmp_path), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for((tmp_path / "data" / "studio.lock").exists, seconds=60)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=10)
        assert process.returncode == 0
        assert time.monotonic() - began < 5
        assert b"Traceback" not in output + errors
