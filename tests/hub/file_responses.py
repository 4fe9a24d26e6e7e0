"""Sends the contents of a file: whole, in part, slowly, or truncated."""

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
# Seconds between two chunks of a slow response.
SLOW_INTERVAL_SECONDS = 0.05


class ByteRange(NamedTuple):
    """A range of bytes in a file: `first`, and `end` after the last."""

    first: int
    end: int


def parse_range(range_header: str | None, size: int) -> ByteRange | None:
    """Returns the range in a Range header; None if it begins after the end of the file."""
    if not range_header or not (match := re.fullmatch(r"bytes=(\d+)-(\d*)", range_header)):
        return ByteRange(0, size)
    first, last = int(match[1]), int(match[2] or size - 1)
    return ByteRange(first, min(last + 1, size)) if first < size else None


def send_file(
    handler: BaseHTTPRequestHandler, path: Path, headers: dict[str, str], fault: Fault | None, closing: threading.Event
) -> None:
    size, range_header = path.stat().st_size, handler.headers.get("Range")
    part = parse_range(range_header, size)
    if part is None:
        status, headers = 416, headers | {"Content-Range": f"bytes */{size}", "Content-Length": "0"}
    else:
        status, headers = 200, headers | {"Content-Length": str(part.end - part.first)}
        if range_header:
            status, headers = 206, headers | {"Content-Range": f"bytes {part.first}-{part.end - 1}/{size}"}
    handler.send_response(status)
    for name, value in {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    if part is not None and handler.command != "HEAD":
        send_body(handler, path, part, fault or Fault(""), closing)


def send_body(
    handler: BaseHTTPRequestHandler, path: Path, part: ByteRange, fault: Fault, closing: threading.Event
) -> None:
    end = part.end if fault.cut is None else min(part.end, part.first + fault.cut)
    began = time.monotonic()
    with path.open("rb") as file:
        file.seek(part.first)
        while file.tell() < end and not closing.is_set():
            bytes_per_second = None if fault.is_over.is_set() else fault.slow
            step = CHUNK if bytes_per_second is None else max(1, int(bytes_per_second * SLOW_INTERVAL_SECONDS))
            handler.wfile.write(file.read(min(step, end - file.tell())))
            if bytes_per_second is not None:
                due = began + (file.tell() - part.first) / bytes_per_second
                closing.wait(max(0.0, due - time.monotonic()))
    if end < part.end or closing.is_set():
        handler.close_connection = True
        hang_up(handler.connection)


def hang_up(connection: socket.socket) -> None:
    """Shuts the connection down; after closing alone, the client would wait until its timeout."""
    with suppress(OSError):  # The client may have closed it already.
        connection.shutdown(socket.SHUT_RDWR)
