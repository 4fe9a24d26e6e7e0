"""A real studio in a process of its own, and a real browser."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.hub.repositories import REPOSITORIES
from tests.hub.server import StandInHub

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
# How wide and high the embedded model paints when nobody says.
SIDE = json.loads((ROOT / "assets" / "catalogue.json").read_text())[0]["width"]
# Tokens of three people: one who makes things, one who wants to see them, and one who may do everything.
ALICE, BOB, BOSS = "hf_alice_token", "hf_bob_token", "hf_boss_token"
PEOPLE = {ALICE: "alice", BOB: "bob", BOSS: "boss"}
CHROMIUM = "/usr/bin/chromium"
CHROMIUM_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@dataclass(frozen=True)
class Studio:
    """Where it listens, where it keeps what it makes, and what it says on standard output."""

    url: str
    data_dir: Path
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def engine_pid(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        (pid,) = [int(pid) for file in children for pid in file.read_text().split()]
        return pid


def awaited(work: Coroutine[Any, Any, T]) -> T:
    """What it returns. A browser in the same thread has a loop of its own there."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running_studio(
    folder: Path, *flags: str, until: str = "readyz", environment: Mapping[str, str] | None = None
) -> Iterator[Studio]:
    """`until` names the route that must answer 200 before the tests begin."""
    port, log = free_port(), folder / "log.jsonl"
    folders = ["--data-dir", str(folder / "data"), "--models-dir", str(folder / "models")]
    command = [sys.executable, "app.py", "--host", "127.0.0.1", "--port", str(port), *folders, *flags]
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        ) as process,
    ):
        try:
            studio = Studio(f"http://127.0.0.1:{port}", folder / "data", log, process)
            wait_until_answered(f"{studio.url}/{until}", studio)
            yield studio
        finally:
            process.terminate()
            process.wait(30)


def wait_until_answered(url: str, studio: Studio, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and studio.process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise TimeoutError(f"{url} did not answer:\n{studio.log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """One studio for all tests that leave it as they found it."""
    with running_studio(tmp_path_factory.mktemp("studio")) as studio:
        yield studio


@pytest.fixture
def own_studio(tmp_path: Path) -> Iterator[Studio]:
    """A studio for a test that does it harm."""
    with running_studio(tmp_path) as studio:
        yield studio


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, studio: Studio) -> Iterator[Page]:
    """The studio's page in a new window of 1440 x 900."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(studio.url)
    yield page
    context.close()


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInHub]:
    """Stands in for the Hugging Face Hub, on loopback."""
    with StandInHub(tmp_path_factory.mktemp("hub"), REPOSITORIES) as hub:
        yield hub


@pytest.fixture(scope="session")
def stocked(hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio whose Hub is the stand-in."""
    folder = tmp_path_factory.mktemp("stocked")
    with running_studio(folder, environment=hub.environment(folder / "hf")) as studio:
        yield studio


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInHub]:
    """Stands in for a Hub that knows alice, bob and the boss."""
    with StandInHub(tmp_path_factory.mktemp("people"), users=PEOPLE, organisations={"alice": ("painters",)}) as hub:
        yield hub


@pytest.fixture(scope="session")
def guarded(people: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio where people sign in."""
    folder = tmp_path_factory.mktemp("guarded")
    with guarded_studio(folder, people, until="readyz") as studio:
        yield studio


@contextmanager
def guarded_studio(folder: Path, people: StandInHub, *flags: str, until: str = "healthz") -> Iterator[Studio]:
    environment = people.environment(folder / "hf") | people.sign_in_environment()
    with running_studio(folder, "--administrators", "boss", *flags, until=until, environment=environment) as studio:
        yield studio


@pytest.fixture(scope="session")
def proxied(people: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio that a proxy serves under /studio, and that pages of another web site may call."""
    flags = ("--public-url", "http://127.0.0.1/studio", "--origins", "https://friend.example")
    with guarded_studio(tmp_path_factory.mktemp("proxied"), people, *flags) as studio:
        yield studio


@pytest.fixture(scope="session")
def frail_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInHub]:
    """One that goes wrong, and knows alice by some more tokens."""
    known = PEOPLE | {f"hf_more_{number}": "alice" for number in range(3)}
    with StandInHub(tmp_path_factory.mktemp("frail"), users=known) as hub:
        yield hub


@pytest.fixture(scope="session")
def asking(frail_hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio that asks this Hub who somebody is, and is for alice alone."""
    with guarded_studio(tmp_path_factory.mktemp("asking"), frail_hub, "--allowed-users", "alice") as studio:
        yield studio


def program(studio: Studio, token: str | None = None, **headers: str) -> httpx2.Client:
    """Somebody's program; without a token, nobody's."""
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        said["Authorization"] = f"Bearer {token}"
    return httpx2.Client(base_url=studio.url, headers=said, timeout=60, verify=False)
