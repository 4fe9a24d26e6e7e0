"""`python -m bench.start`: seconds from the start of the studio to a page, a response of its API, and a picture.

Compared in every round with `import gradio` alone, which every Gradio page needs. The first picture waits for the
worker, which imports torch and loads the embedded model. Processor seconds are those of the web process until then;
they hardly depend on other load on the machine.
"""

from __future__ import annotations

import http.client
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from tempfile import TemporaryDirectory

from bench.processes import ROOT, free_port, peak_memory_mb, processor_seconds
from bench.timing import describe_processors, save_result

ROUNDS = 5
POLL_SECONDS = 0.005
TIMEOUT_SECONDS = 120
PICTURE = {"prompt": "a red circle on a blue background", "steps": 2, "seed": 7}
# In the order of the requests. The page comes first, so that no other request has warmed it up.
ROUTES = {"page": "/", "health": "/healthz"}


@dataclass(frozen=True)
class Moment:
    """Seconds since the start: of wall time, and of the processor."""

    wall: float
    processor: float


@dataclass(frozen=True)
class Start:
    """The times of one start. `has_torch` is whether the web process has loaded torch's libraries."""

    moments: dict[str, Moment]
    peak_memory_mb: float
    has_torch: bool


def import_gradio() -> Moment:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import gradio"], cwd=ROOT, check=True)
    wall = time.perf_counter() - began
    return Moment(wall, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)


def start_studio() -> Start:
    port = free_port()
    command = [sys.executable, "app.py", "--host", "127.0.0.1", "--port", str(port)]
    with TemporaryDirectory() as folder:
        environment = {**os.environ, "STUDIO_DATA_DIR": f"{folder}/data", "STUDIO_MODELS_DIR": f"{folder}/models"}
        began = time.perf_counter()
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=DEVNULL, stderr=DEVNULL) as studio:

            def now() -> Moment:
                return Moment(time.perf_counter() - began, processor_seconds(studio.pid))

            try:
                moments = wait_for_routes(port, now)
                send_request(port, "POST", "/v1/txt2img", json.dumps(PICTURE))
                moments["picture"] = now()
                maps = Path(f"/proc/{studio.pid}/maps").read_text(encoding="utf-8")
                return Start(moments, peak_memory_mb(studio.pid), "libtorch" in maps)
            finally:
                studio.terminate()


def wait_for_routes(port: int, now: Callable[[], Moment]) -> dict[str, Moment]:
    moments: dict[str, Moment] = {}
    while len(moments) < len(ROUTES):
        for name, route in ROUTES.items():
            if name not in moments:
                with suppress(ConnectionError):
                    send_request(port, "GET", route)
                    moments[name] = now()
        time.sleep(POLL_SECONDS)
        if now().wall > TIMEOUT_SECONDS:
            raise TimeoutError
    return moments


def send_request(port: int, method: str, route: str, body: str | None = None) -> None:
    """Sends a request. Raises ConnectionError while the server does not listen."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    connection.request(method, route, body, {"Content-Type": "application/json"} if body else {})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    assert response.status == 200, content[:500]


def medians(moments: list[Moment]) -> Moment:
    return Moment(statistics.median(m.wall for m in moments), statistics.median(m.processor for m in moments))


def table(moments: Mapping[str, Moment], alone: Moment) -> dict[str, dict[str, float]]:
    return {
        name: {
            "seconds": round(moment.wall, 2),
            "processor seconds": round(moment.processor, 2),
            "ratio": round(moment.wall / alone.wall, 2),
            "processor ratio": round(moment.processor / alone.processor, 2),
        }
        for name, moment in moments.items()
    }


def main() -> None:
    alone: list[Moment] = []
    starts: list[Start] = []
    for number in range(ROUNDS + 1):  # The first round is not counted.
        imported, start = import_gradio(), start_studio()
        if number:
            alone.append(imported)
            starts.append(start)
    gradio = medians(alone)
    moments = {name: medians([start.moments[name] for start in starts]) for name in starts[0].moments}
    report = {
        "python": platform.python_version(),
        "rounds": ROUNDS,
        "medians": table({"import gradio": gradio, **moments}, gradio),
        "ratios of the page, round by round": [
            round(start.moments["page"].wall / imported.wall, 2) for start, imported in zip(starts, alone, strict=True)
        ],
        "peak_memory_mb of the web process": round(statistics.median(start.peak_memory_mb for start in starts)),
        "torch in the web process": any(start.has_torch for start in starts),
    }
    save_result("start", describe_processors(), report)


if __name__ == "__main__":
    main()
