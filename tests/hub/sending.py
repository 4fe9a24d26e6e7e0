"""Sending the contents of a file: whole or in part, slowly, or not to the end."""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import NamedTuple

from tests.hub.faults import Fault

CHUNK = 1 << 18
# How often a slow answer sends something, in seconds.
BEAT = 0.05


class Span(NamedTuple):
    """Bytes of a file: `first`, and the one after the last."""

    first: int
    end: int


def span(asked: str | None, size: int) -> Span | None:
    """The part that a Range header asks for. None if it begins after the end."""
    if not asked or not (found := re.fullmatch(r"bytes=(\d+)-(\d*)", asked)):
        return Span(0, size)
    first, last = int(found[1]), int(found[2] or size - 1)
    return Span(first, min(last + 1, size)) if first < size else None


def send_file(
    answer: BaseHTTPRequestHandler, path: Path, headers: dict[str, str], fault: Fault | None, closing: threading.Event
) -> None:
    size, asked = path.stat().st_size, answer.headers.get("Range")
    part = span(asked, size)
    if part is None:
        status, headers = 416, headers | {"Content-Range": f"bytes */{size}", "Content-Length": "0"}
    else:
        status, headers = 200, headers | {"Content-Length": str(part.end - part.first)}
        if asked:
            status, headers = 206, headers | {"Content-Range": f"bytes {part.first}-{part.end - 1}/{size}"}
    answer.send_response(status)
    for name, value in {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **headers}.items():
        answer.send_header(name, value)
    answer.end_headers()
    if part is not None and answer.command != "HEAD":
        send_body(answer, path, part, fault or Fault(""), closing)


def send_body(answer: BaseHTTPRequestHandler, path: Path, part: Span, fault: Fault, closing: threading.Event) -> None:
    end = part.end if fault.cut is None else min(part.end, part.first + fault.cut)
    step = CHUNK if fault.slow is None else max(1, int(fault.slow * BEAT))
    began = time.monotonic()
    with path.open("rb") as file:
        file.seek(part.first)
        while file.tell() < end and not closing.is_set():
            answer.wfile.write(file.read(min(step, end - file.tell())))
            if fault.slow is not None:
                due = began + (file.tell() - part.first) / fault.slow
                closing.wait(max(0.0, due - time.monotonic()))
    if end < part.end or closing.is_set():
        answer.close_connection = True
        hang_up(answer.connection)


def hang_up(connection: socket.socket) -> None:
    """Closing alone would let the client wait until its time is out."""
    with suppress(OSError):  # The client was faster.
        connection.shutdown(socket.SHUT_RDWR)
