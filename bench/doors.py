"""`python -m bench.doors`: the cost of one call through each API, with an engine that costs nothing.

A call lasts from the request until the client has the picture. HTTP clients reuse one connection, so that the client's
own share is small. Measured are the median call in ms, with the APIs taking turns; the server's processor time per
call in ms; and calls per second with 16 concurrent clients. The health route is measured for comparison: it costs
only the middleware and FastAPI.
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
from pathlib import Path
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
from bench.http_client import HttpClient
from bench.processes import ROOT, free_port, spent_seconds
from bench.timing import describe_processors, save_result

ROUNDS = 6
CALLS = 5
CLIENTS = 16
CALLS_EACH = 12
START_TIMEOUT_SECONDS = 60
UNLIMITED = ("--requests-per-minute", "1000000", "--queued-per-user", "1000", "--max-queued", "1000")


@contextmanager
def run_idle_studio(prepare: Callable[[Path], None] | None = None) -> Iterator[tuple[int, int]]:
    """Yields port and process id of a studio whose engine costs nothing.

    `prepare` is called before the start, with the path of the data folder, which is not there yet.
    """
    port = free_port()
    with TemporaryDirectory() as folder:
        if prepare is not None:
            prepare(Path(folder) / "data")
        folders = ["--data-dir", f"{folder}/data", "--models-dir", f"{folder}/models"]
        command = [sys.executable, "-m", "bench.idle_studio", "--port", str(port), *folders, *UNLIMITED]
        with subprocess.Popen(command, cwd=ROOT, stdout=DEVNULL, stderr=DEVNULL) as studio:
            try:
                wait_until_ready(port)
                yield port, studio.pid
            finally:
                studio.terminate()


def wait_until_ready(port: int) -> None:
    end = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < end:
        with suppress(ConnectionError, AssertionError):
            HttpClient(port).get("/readyz")
            return
        time.sleep(0.1)
    raise TimeoutError


def measure_doors(doors: Mapping[str, Callable[[], object]], pid: int) -> dict[str, dict[str, float]]:
    """Measures each call in turns. The first round is a warm-up and not counted."""
    wall: dict[str, list[float]] = {name: [] for name in doors}
    spent = dict.fromkeys(doors, 0.0)
    for number in range(ROUNDS + 1):
        for name, call in doors.items():
            before, seconds = spent_seconds(pid), []
            for _ in range(CALLS):
                began = time.perf_counter()
                call()
                seconds.append(time.perf_counter() - began)
            time.sleep(0.05)  # Work that the server does after its response belongs to the call.
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


def measure_concurrent_calls(port: int, door: Callable[[HttpClient], object]) -> dict[str, float]:
    """Returns calls per second of CLIENTS clients, each of which sends its next call when the last has returned."""

    def client(_: int) -> None:
        web = HttpClient(port)
        for _ in range(CALLS_EACH):
            door(web)

    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(lambda _: door(HttpClient(port)), range(CLIENTS)))
        began = time.perf_counter()
        list(threads.map(client, range(CLIENTS)))
        seconds = time.perf_counter() - began
    return {"calls per second": round(CLIENTS * CALLS_EACH / seconds, 1)}


def main() -> None:
    with run_idle_studio() as (port, pid), ExitStack() as stack:
        web = HttpClient(port)
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
        one_by_one = measure_doors(doors, pid)
        many = {
            name: measure_concurrent_calls(port, door)
            for name, door in (("health, no job", health), ("REST", rest), ("Gradio over HTTP", gradio_raw))
        }
    report = {
        "python": platform.python_version(),
        "events of each job": 23,
        "one call": one_by_one,
        f"{CLIENTS} clients at once": many,
    }
    save_result("doors", describe_processors(), report)


if __name__ == "__main__":
    main()
