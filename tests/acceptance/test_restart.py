"""What was accepted survives a restart of the studio."""

import json
import sqlite3
import urllib.request
from pathlib import Path

from tests.acceptance.conftest import Studio, running_studio
from tests.acceptance.test_server import wait_for


def ask(studio: Studio, session: str, prompt: str, steps: int) -> None:
    """Puts a job into the queue as the page does, and does not wait for it."""
    values: list[object] = [prompt, "", None, None, steps, None, None, None, 1, 0, None, [], [], [], 0]
    body = {"data": values, "session_hash": session}
    call = urllib.request.Request(
        f"{studio.url}/gradio_api/call/txt2img", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(call, timeout=10) as response:
        assert "event_id" in json.load(response)


def states(data_dir: Path) -> list[str]:
    database = sqlite3.connect(f"file:{data_dir / 'jobs.sqlite'}?mode=ro", uri=True)
    try:
        return [state for (state,) in database.execute("SELECT state FROM jobs ORDER BY number")]
    finally:
        database.close()


def test_a_restart_goes_on_with_the_queue_and_owns_up_to_what_it_broke_off(tmp_path: Path) -> None:
    with running_studio(tmp_path, "--max-running", "1") as studio:
        ask(studio, "ann", "a red circle", steps=150)
        ask(studio, "bob", "a blue circle", steps=2)
        wait_for(lambda: (tmp_path / "data/jobs.sqlite").exists() and len(states(studio.data_dir)) == 2, seconds=60)
    assert states(studio.data_dir) == ["failed", "queued"]
    with running_studio(tmp_path) as studio:
        wait_for(lambda: states(studio.data_dir) == ["failed", "done"], seconds=60)
