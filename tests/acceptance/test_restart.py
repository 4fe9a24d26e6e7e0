"""Accepted jobs survive a restart of the studio."""

import json
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.acceptance.conftest import ROOT, TIMEOUT_MILLISECONDS, Studio, open_page, open_window, running_studio
from tests.acceptance.test_server import wait_for


def ask(studio: Studio, session: str, prompt: str, steps: int, batch_size: int = 1) -> None:
    """Submits a job as the page does, and does not wait for it."""
    values: list[object] = [
        prompt,
        "",
        None,
        None,
        steps,
        None,
        None,
        None,
        batch_size,
        0,
        None,
        [],
        [],
        [],
        0,
        None,
        0,
        1,
        0,
        0.6,
        None,
        1,
        None,
        [],
        None,
        [],
        *(None, "", "", 0.4, 0.3, 32),
    ]
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


def test_a_restart_continues_the_queue_and_fails_the_jobs_that_were_running(browser: Browser, tmp_path: Path) -> None:
    """Running jobs have half a second to finish. A page that is open says that it waits, and goes on by itself."""
    with open_window(browser) as page:
        restart_with_open_page(page, tmp_path)


def restart_with_open_page(page: Page, tmp_path: Path) -> None:
    with running_studio(tmp_path, "--max-running", "1", "--drain-timeout", "0.5") as studio:
        open_page(page, studio.url)
        page.get_by_label("Prompt").first.fill("a yellow star")
        ask(studio, "ann", "a green circle", steps=1)
        wait_for(lambda: (tmp_path / "data/jobs.sqlite").exists() and states(studio.data_dir) == ["done"], seconds=60)
        ask(studio, "ann", "a red circle", steps=150, batch_size=8)
        wait_for(lambda: states(studio.data_dir) == ["done", "running"], seconds=60)
        ask(studio, "bob", "a blue circle", steps=2)
        wait_for(lambda: states(studio.data_dir) == ["done", "running", "queued"], seconds=60)
        studio.process.send_signal(signal.SIGTERM)
        assert studio.process.wait(20) == 0
    assert states(studio.data_dir) == ["done", "failed", "queued"]
    expect(page.locator(".notice")).to_have_text("Reconnecting …", timeout=15_000)
    badge = page.locator(".masthead .badge p")
    assert badge.evaluate("badge => getComputedStyle(badge, '::before').backgroundColor") == "rgb(207, 58, 43)"
    with running_studio(tmp_path, port=int(studio.url.rpartition(":")[2])) as studio:
        wait_for(lambda: states(studio.data_dir) == ["done", "failed", "done"], seconds=60)
        expect(page.locator(".details .prompt").first).to_have_text("a blue circle", timeout=TIMEOUT_MILLISECONDS)
        expect(page.locator(".notice")).to_have_count(0)
        expect(page.get_by_label("Prompt").first).to_have_value("a yellow star")


def test_a_studio_that_answers_late_costs_a_page_nothing(browser: Browser, tmp_path: Path) -> None:
    with open_window(browser) as page, running_studio(tmp_path) as studio:
        open_page(page, studio.url)
        page.evaluate("window.isSamePage = true")
        studio.process.send_signal(signal.SIGSTOP)
        try:
            expect(page.locator(".notice")).to_have_text("Waiting for the studio …", timeout=15_000)
        finally:
            studio.process.send_signal(signal.SIGCONT)
        expect(page.locator(".notice")).to_have_count(0, timeout=15_000)
        assert page.evaluate("window.isSamePage") is True
        page.get_by_label("Prompt").first.fill("a yellow star")
        page.get_by_role("button", name="Generate").first.click()
        status = page.locator(".block.status").filter(visible=True)
        expect(status).to_contain_text("Done in", timeout=TIMEOUT_MILLISECONDS)
        assert page.evaluate("window.isSamePage") is True


def test_a_database_of_a_newer_studio_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "jobs.sqlite")
    database.execute("PRAGMA user_version = 99")
    database.close()
    command = [sys.executable, "app.py", "--data-dir", str(tmp_path), "--models-dir", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"{tmp_path / 'jobs.sqlite'} has version 99 and this studio reads up to ")
