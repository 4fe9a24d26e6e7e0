"""`python -m bench.soak.health_probe PORT`: calls /healthz ten times a second until its standard input ends.

It is a process of its own, so that other work of the bench does not count. Prints the milliseconds of each call as a
JSON list; null for one that failed.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.processes import ROOT, free_port

PER_SECOND = 10
TIMEOUT_SECONDS = 10


def main() -> None:
    stopped = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        stopped.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    milliseconds: list[float | None] = []
    next_call = time.perf_counter()
    while not stopped.wait(max(next_call - time.perf_counter(), 0)):
        next_call += 1 / PER_SECOND
        milliseconds.append(call_health(int(sys.argv[1])))
    print(json.dumps(milliseconds))


def call_health(port: int) -> float | None:
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        response.read()
        return (time.perf_counter() - began) * 1000 if response.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@contextmanager
def probe_health(port: int) -> Iterator[list[float | None]]:
    """Yields a list that is filled at the end of the block: milliseconds of each call, None for a failed one."""
    milliseconds: list[float | None] = []
    command = [sys.executable, "-m", "bench.soak.health_probe", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as probe:
        yield milliseconds
        output, _ = probe.communicate(timeout=TIMEOUT_SECONDS + 5)
    milliseconds += json.loads(output)


@contextmanager
def run_empty_server() -> Iterator[int]:
    """Yields the port of a server, in a process of its own, that answers every path at once."""
    port = free_port()
    command = [sys.executable, "-m", "bench.soak.empty_server", str(port)]
    with subprocess.Popen(command, cwd=ROOT) as server:
        try:
            while call_health(port) is None:
                time.sleep(0.05)
            yield port
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
