"""A real studio in its own process, and a real browser."""

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
from playwright.sync_api import Browser, BrowserType, Page, ViewportSize, expect, sync_playwright

from imagegen.access.keys import KeyStore
from tests.acceptance.space_proxy import SPACE
from tests.hub.repositories import REPOSITORIES
from tests.hub.server import StandInHub

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
# Width and height of the embedded model's pictures by default.
SIDE = json.loads((ROOT / "assets" / "catalogue.json").read_text())[0]["width"]
# Tokens of three people: one who makes things, one who wants to see them, and an administrator.
ALICE, BOB, BOSS = "hf_alice_token", "hf_bob_token", "hf_boss_token"
PEOPLE = {ALICE: "alice", BOB: "bob", BOSS: "boss"}
# The catalogue of an owner: a model of the Hub, and the same with a LoRA. No other test uses these repositories.
CATALOGUED = {"id": "tiny", "name": "Tiny", "repository": "studio/catalogued", "pipeline": "StableDiffusionPipeline"}
OWN_LORA = {"lora": "studio/catalogued-lora", "weight": 0.5}
OWN_CATALOGUE = [CATALOGUED, CATALOGUED | {"id": "with-lora", "steps": 3, "loras": [OWN_LORA]}]
CHROMIUM = "/usr/bin/chromium"
# Two processes of each window that draw suggestions below the address bar, and what Playwright disables: of several
# such flags the last one counts.
DISABLED_FEATURES = (
    "WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "AimEnabled", "AvoidCorsURLLoaderRestartOnRedirect",
    "AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades", "LensOverlay", "MediaRouter", "NetworkTimeServiceQuerying", "OptimizationHints", "PaintHolding",
    "PreconnectToSearch", "ThirdPartyStoragePartitioning",
)  # fmt: skip
CHROMIUM_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", f"--disable-features={','.join(DISABLED_FEATURES)}",
)  # fmt: skip
# Names under .lan are names of this machine.
RESOLVER_RULES = "MAP *.lan 127.0.0.1"
TIMEOUT_MILLISECONDS = 90_000


@dataclass(frozen=True)
class Studio:
    """A running studio: its address, its data folder, and its log on standard output."""

    url: str
    data_dir: Path
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def models_dir(self) -> Path:
        return self.data_dir.parent / "models"

    @property
    def engine_pid(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        (pid,) = [int(pid) for file in children for pid in file.read_text().split()]
        return pid


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine in a new thread, because a browser in this thread has its own event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running_studio(
    folder: Path,
    *flags: str,
    until: str = "readyz",
    environment: Mapping[str, str] | None = None,
    port: int | None = None,
) -> Iterator[Studio]:
    """Starts a studio. `until` is the route that must answer 200 before the tests begin."""
    port, log = port or free_port(), folder / "log.jsonl"
    folders = ["--data-dir", str(folder / "data"), "--models-dir", str(folder / "models")]
    command = [sys.executable, "app.py", "--host", "127.0.0.1", "--port", str(port), *folders, *flags]
    # Tests that leave a job running do not wait for it.
    variables = {**os.environ, "STUDIO_DRAIN_TIMEOUT": "5", **(environment or {})}
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, env=variables) as process,
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
    """One studio for all tests that leave it as they found it. It reaches no Hub: nothing listens at that address."""
    folder = tmp_path_factory.mktemp("studio")
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(folder / "hf")}
    with running_studio(folder, environment=environment) as studio:
        yield studio


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launch_browser(playwright.chromium, RESOLVER_RULES) as browser:
        yield browser


@contextmanager
def launch_browser(browser_type: BrowserType, resolver_rules: str) -> Iterator[Browser]:
    """A browser that finds the addresses of host names by these rules first."""
    flags = [*CHROMIUM_FLAGS, f"--host-resolver-rules={resolver_rules}"]
    with browser_type.launch(executable_path=CHROMIUM, args=flags) as browser:
        yield browser


@contextmanager
def open_window(browser: Browser, width: int = 1440, height: int = 900, **options: Any) -> Iterator[Page]:
    """An empty window with cookies of its own. Animations are off: they take a third of the browser's time."""
    viewport: ViewportSize = {"width": width, "height": height}
    with browser.new_context(viewport=viewport, reduced_motion="reduce", **options) as context:
        yield context.new_page()


def empty_studio(studio: Studio) -> None:
    """Ends all jobs and deletes all pictures of this machine's user, so that a page shows those of one test."""
    with httpx2.Client(base_url=studio.url, timeout=30) as web:
        for job in web.get("/v1/jobs?limit=50").json()["jobs"]:
            if job["state"] in ("queued", "running"):
                web.delete(f"/v1/jobs/{job['id']}")
        while pictures := web.get("/v1/pictures?limit=200").json()["pictures"]:
            for picture in pictures:
                web.delete(f"/v1/pictures/{picture['id']}")


def open_page(page: Page, url: str) -> None:
    """Opens the page of a studio in a window, and waits until it can be used."""
    page.goto(url)
    wait_until_usable(page)


def wait_until_usable(page: Page) -> None:
    """Waits until the page of a studio, which is being opened, shows its first tab."""
    button = page.get_by_role("button", name="Generate").filter(visible=True)
    expect(button).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    wait_until_painted(page)


def wait_until_painted(page: Page) -> None:
    """Waits until the browser has painted what is on the page. To be called when controls have appeared.

    Gradio creates the controls of a tab or an accordion when it is first opened, and sets their initial values again
    before the browser paints the next frame. A person sees them only then; a test could type before, and lose it.
    """
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.fixture
def blank_page(browser: Browser) -> Iterator[Page]:
    """A window that shows nothing yet."""
    with open_window(browser) as page:
        yield page


@pytest.fixture
def page(blank_page: Page, studio: Studio) -> Page:
    """The studio's page."""
    open_page(blank_page, studio.url)
    return blank_page


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInHub]:
    """A stand-in for the Hugging Face Hub on loopback."""
    with StandInHub(tmp_path_factory.mktemp("hub"), REPOSITORIES) as hub:
        yield hub


@pytest.fixture(scope="session")
def hub_studio(hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio whose Hub is the stand-in, and whose owner added models to the catalogue.

    Its users may send as many requests as they like: thousands of invalid ones are tested.
    """
    folder = tmp_path_factory.mktemp("hub-studio")
    (folder / "models").mkdir()
    (folder / "models" / "catalogue.json").write_text(json.dumps(OWN_CATALOGUE))
    (folder / "models" / "old.ckpt").write_bytes(b"a pickle")
    flags = ("--requests-per-minute", "100000")
    with running_studio(folder, *flags, environment=hub.environment(folder / "hf")) as studio:
        yield studio


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInHub]:
    """A stand-in for a Hub that knows alice, bob and the boss."""
    with StandInHub(tmp_path_factory.mktemp("people"), users=PEOPLE, organisations={"alice": ("painters",)}) as hub:
        yield hub


@pytest.fixture(scope="session")
def guarded(people: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio that requires sign-in."""
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
def space(people: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio on a Space, where each user may ask for little."""
    limits = ("--requests-per-minute", "6", "--queued-per-user", "2", "--running-per-user", "1")
    folder = tmp_path_factory.mktemp("space")
    with guarded_studio(folder, people, "--public-url", f"https://{SPACE}", *limits) as studio:
        yield studio


@pytest.fixture(scope="session")
def keys_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio with keys of its own, which asks no Hub."""
    with running_studio(tmp_path_factory.mktemp("keys"), "--access", "keys") as studio:
        yield studio


@pytest.fixture(scope="session")
def keys(keys_studio: Studio) -> KeyStore:
    """Its keys: a key added here is valid at once."""
    return KeyStore(keys_studio.data_dir / "keys.json")


@pytest.fixture(scope="session")
def frail_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInHub]:
    """A Hub with faults, with some more tokens of alice."""
    known = PEOPLE | {f"hf_more_{number}": "alice" for number in range(3)}
    with StandInHub(tmp_path_factory.mktemp("frail"), users=known) as hub:
        yield hub


@pytest.fixture(scope="session")
def allowlist_studio(frail_hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio that identifies users with this Hub, and that only alice may use."""
    with guarded_studio(tmp_path_factory.mktemp("asking"), frail_hub, "--allowed-users", "alice") as studio:
        yield studio


def make_client(studio: Studio, token: str | None = None, **headers: str) -> httpx2.Client:
    """An HTTP client with a token, or without one."""
    all_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        all_headers["Authorization"] = f"Bearer {token}"
    return httpx2.Client(base_url=studio.url, headers=all_headers, timeout=60, verify=False)
