"""L5, M2: many clients watch one job, some of them slowly; thousands connect and leave."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from websockets.sync.client import connect

from bench.processes import sample_memory
from bench.soak.measurement import Measurement, at_most, exactly, scaled
from bench.soak.studio import UNLIMITED, SoakStudio, build_user_headers, run_studio, submit, wait_for_end, wait_until
from bench.soak.submitting import run_without_worker

WATCHERS, SLOW_WATCHERS = 50, 5
ROUNDS = 12
STEPS = 80
MAX_DELAY = 1.05
MAX_GROWTH_MB = 30
CONNECTIONS = 2000
SLACK = 5
READ_TIMEOUT_SECONDS = 120
# A slow client's system takes little in advance.
RECEIVE_BUFFER = 4096
FINAL = ("event: result", "event: error", "event: cancelled")


def measure_watchers(scale: float) -> list[Measurement]:
    """Jobs with quick watchers take turns with jobs that also have slow ones: other load affects both equally."""
    watchers, rounds = scaled(WATCHERS, scale, 10), scaled(ROUNDS, scale, 2)
    slow = scaled(SLOW_WATCHERS, scale, 2)
    seconds: dict[int, list[float]] = {0: [], slow: []}
    ends: list[str] = []
    with TemporaryDirectory() as folder, run_studio(Path(folder), *UNLIMITED) as studio, studio.connect() as client:
        wait_for_end(client, submit(client))
        with sample_memory(studio.process.pid) as samples:
            for _ in range(rounds):
                for slow_ones, durations in seconds.items():
                    job_id = submit(client, steps=STEPS)
                    ends += asyncio.run(watch(studio, job_id, watchers - slow_ones, slow_ones))
                    job = wait_for_end(client, job_id)
                    durations.append(job["finished"] - job["started"])
    delay = min(seconds[slow]) / min(seconds[0])
    lost = sum(end not in FINAL for end in ends)
    return [
        exactly("L5", f"{len(ends)} watchers, {rounds * slow} of them slow: without a last event", lost, 0),
        at_most("L5", "duration of a job some of whose watchers are slow, compared with none", delay, MAX_DELAY, "x"),
        at_most("L5", "memory of the web process: growth at most", max(samples) - samples[0], MAX_GROWTH_MB, "MiB"),
    ]


async def watch(studio: SoakStudio, job_id: str, quick: int, slow: int) -> list[str]:
    """Returns the last event of each watcher. Slow ones read nothing until the others have seen the end."""
    ended = asyncio.Event()

    async def watch_slowly() -> str:
        async with open_events(studio, job_id) as reader:
            await ended.wait()
            return await read_last_event(reader)

    async def watch_quickly() -> str:
        async with open_events(studio, job_id) as reader:
            return await read_last_event(reader)

    slow_ones = [asyncio.create_task(watch_slowly()) for _ in range(slow)]
    ends = await asyncio.gather(*(watch_quickly() for _ in range(quick)))
    ended.set()
    return [*ends, *await asyncio.gather(*slow_ones)]


@asynccontextmanager
async def open_events(studio: SoakStudio, job_id: str) -> AsyncIterator[asyncio.StreamReader]:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", studio.port))
    reader, writer = await asyncio.open_connection(sock=client, limit=RECEIVE_BUFFER)
    try:
        writer.write(build_events_request(job_id))
        await writer.drain()
        yield reader
    finally:
        writer.close()


def build_events_request(job_id: str) -> bytes:
    headers = {"Host": "127.0.0.1", "Connection": "close", **build_user_headers(0)}
    lines = [f"GET /v1/jobs/{job_id}/events?previews=true HTTP/1.1", *(f"{name}: {headers[name]}" for name in headers)]
    return "\r\n".join([*lines, "", ""]).encode()


async def read_last_event(reader: asyncio.StreamReader) -> str:
    async with asyncio.timeout(READ_TIMEOUT_SECONDS):
        content = (await reader.read(-1)).decode()
    events = [line for line in content.splitlines() if line.startswith("event: ")]
    return events[-1] if events else "nothing"


def measure_connections(scale: float) -> list[Measurement]:
    """Clients connect and leave at once: half of them watch a job that waits, half open a WebSocket."""
    count = scaled(CONNECTIONS, scale, 100)
    with TemporaryDirectory() as folder, run_without_worker(Path(folder)) as studio, studio.connect() as client:
        job_id = submit(client)
        leave: Sequence[Callable[[], None]] = (lambda: leave_events(studio, job_id), lambda: leave_socket(studio))
        for number in range(20):  # The first ones start threads and caches.
            leave[number % 2]()
        base = wait_for_quiet(studio)
        for number in range(count):
            leave[number % 2]()
        counts = wait_for_quiet(studio, base)
        alive = studio.get_status("/healthz")
    return [
        at_most("M2", f"{count} connections: open files left", abs(counts[0] - base[0]), SLACK, ""),
        at_most("M2", f"{count} connections: threads left", abs(counts[1] - base[1]), SLACK, ""),
        exactly("M2", "/healthz afterwards", alive, 200),
    ]


def leave_events(studio: SoakStudio, job_id: str) -> None:
    with socket.create_connection(("127.0.0.1", studio.port), timeout=READ_TIMEOUT_SECONDS) as client:
        client.sendall(build_events_request(job_id))
        assert client.recv(64).startswith(b"HTTP/1.1 200")


def leave_socket(studio: SoakStudio) -> None:
    with connect(f"ws://127.0.0.1:{studio.port}/v1/ws"):
        pass


def count_files_and_threads(studio: SoakStudio) -> tuple[int, int]:
    return studio.web.num_fds(), studio.web.num_threads()


def wait_for_quiet(studio: SoakStudio, base: tuple[int, int] | None = None, seconds: float = 30) -> tuple[int, int]:
    """Returns the open files and threads of the web process, when they are back at `base`, or after some seconds.

    Without `base`, after the time in which the studio notices that clients have left.
    """
    with suppress(TimeoutError):
        wait_until(lambda: base is not None and count_files_and_threads(studio) <= base, seconds if base else 5)
    return count_files_and_threads(studio)
