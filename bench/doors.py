"""`python -m bench.doors`: what one call costs at each door, when the engine costs nothing.

A call begins with the request and ends when the picture is there, as its door's client gets it: with HTTP on a
connection that stays open, so that little is the client's own. Milliseconds of the median call, the doors taking turns;
milliseconds of the processor that the server needs for one; and calls in a second for 16 clients at once. Beside them
stands the route that says the server lives, which is what the gate and FastAPI cost alone.
"""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from subprocess import DEVNULL
from tempfile import TemporaryDirectory

from bench.clients import (
    automatic1111,
    gradio_client,
    gradio_raw,
    health,
    job_and_events,
    mcp_tool,
    openai_images,
    rest,
    websocket,
)
from bench.http import Web
from bench.processes import ROOT, free_port, spent_seconds
from bench.timing import keep, processors

ROUNDS = 6
CALLS = 5
CLIENTS = 16
CALLS_EACH = 12
LONGEST = 60
UNLIMITED = ("--requests-per-minute", "1000000", "--queued-per-user", "1000", "--max-queued", "1000")


@contextmanager
def idle_studio() -> Iterator[tuple[int, int]]:
    """The port and the process of a studio whose engine costs nothing."""
    port = free_port()
    with TemporaryDirectory() as folder:
        folders = ["--data-dir", f"{folder}/data", "--models-dir", f"{folder}/models"]
        command = [sys.executable, "-m", "bench.idle_studio", "--port", str(port), *folders, *UNLIMITED]
        with subprocess.Popen(command, cwd=ROOT, stdout=DEVNULL, stderr=DEVNULL) as studio:
            try:
                wait_until_ready(port)
                yield port, studio.pid
            finally:
                studio.terminate()


def wait_until_ready(port: int) -> None:
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        with suppress(ConnectionError, AssertionError):
            Web(port).get("/readyz")
            return
        time.sleep(0.1)
    raise TimeoutError


def measured(doors: Mapping[str, Callable[[], object]], pid: int) -> dict[str, dict[str, float]]:
    """The first round is not counted."""
    wall: dict[str, list[float]] = {name: [] for name in doors}
    spent = dict.fromkeys(doors, 0.0)
    for number in range(ROUNDS + 1):
        for name, call in doors.items():
            before, seconds = spent_seconds(pid), []
            for _ in range(CALLS):
                began = time.perf_counter()
                call()
                seconds.append(time.perf_counter() - began)
            time.sleep(0.05)  # What the server does after its answer belongs to the call.
            if number:
                wall[name] += seconds
                spent[name] += spent_seconds(pid) - before
    return {
        name: {
            "ms": round(statistics.median(wall[name]) * 1000, 2),
            "server's processor ms": round(spent[name] / (ROUNDS * CALLS) * 1000, 2),
        }
        for name in doors
    }


def at_once(port: int, door: Callable[[Web], object]) -> dict[str, float]:
    """Calls in a second, by clients that each begin the next call when the last is done."""

    def client(_: int) -> None:
        web = Web(port)
        for _ in range(CALLS_EACH):
            door(web)

    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(lambda _: door(Web(port)), range(CLIENTS)))
        began = time.perf_counter()
        list(threads.map(client, range(CLIENTS)))
        seconds = time.perf_counter() - began
    return {"calls per second": round(CLIENTS * CALLS_EACH / seconds, 1)}


def main() -> None:
    with idle_studio() as (port, pid), ExitStack() as stack:
        web = Web(port)
        doors: dict[str, Callable[[], object]] = {
            "health, no job": lambda: health(web),
            "REST": lambda: rest(web),
            "REST job and its events": lambda: job_and_events(web),
            "WebSocket": stack.enter_context(websocket(port)),
            "OpenAI images": lambda: openai_images(web),
            "AUTOMATIC1111": lambda: automatic1111(web),
            "Gradio over HTTP": lambda: gradio_raw(web),
            "gradio_client": gradio_client(port),
            "MCP tool": stack.enter_context(mcp_tool(port)),
        }
        one_by_one = measured(doors, pid)
        many = {
            name: at_once(port, door)
            for name, door in (("health, no job", health), ("REST", rest), ("Gradio over HTTP", gradio_raw))
        }
    report = {
        "python": platform.python_version(),
        "events of each job": 23,
        "one call": one_by_one,
        f"{CLIENTS} clients at once": many,
    }
    keep("doors", processors(), report)


if __name__ == "__main__":
    main()
