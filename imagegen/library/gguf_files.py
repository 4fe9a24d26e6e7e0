"""GGUF files: the shapes of their tensors, read from their heads.

The format: the word GGUF, a version, the numbers of tensors and of metadata, the metadata, and what each tensor is.
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from functools import lru_cache
from io import BufferedReader
from pathlib import Path

from imagegen.library.weight_files import BrokenWeights, SafetensorsHeader, make_printable

MAGIC, VERSIONS = b"GGUF", (2, 3)
# The bytes of a value by its type. Text and lists have types of their own.
VALUE_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
TEXT, LIST = 8, 9
MAX_COUNT, MAX_DIMENSIONS, MAX_TEXT_BYTES = 1_000_000, 8, 100 * 2**20


def read_gguf_header(file: Path) -> SafetensorsHeader:
    """Returns the shapes of the tensors in a GGUF file, in torch's order. Raises BrokenWeights for any other file."""
    try:
        status = file.stat()
        return parse_gguf_header(file, status.st_size, status.st_mtime_ns)
    except (OSError, struct.error, ValueError, RecursionError):
        raise BrokenWeights(file.name) from None


@lru_cache(maxsize=64)
def parse_gguf_header(file: Path, size: int, _modified: int) -> SafetensorsHeader:
    """Parses a header. Size in bytes and modification time in ns are part of the cache key."""
    with file.open("rb") as stream:
        magic = stream.read(4)
        version, tensors, values = read_numbers(stream, "<IQQ")
        if magic != MAGIC or version not in VERSIONS or max(tensors, values) > MAX_COUNT:
            raise BrokenWeights(file.name)
        for _ in range(values):
            read_text(stream)
            skip_value(stream, read_number(stream, "<I"))
        shapes, last = {}, 0
        for _ in range(tensors):
            name, dimensions = read_text(stream), read_number(stream, "<I")
            if dimensions > MAX_DIMENSIONS:
                raise BrokenWeights(file.name)
            shape = read_numbers(stream, f"<{dimensions}Q")
            _, offset = read_numbers(stream, "<IQ")
            shapes[name], last = tuple(reversed(shape)), max(last, offset)
        if shapes and stream.tell() + last >= size:
            raise BrokenWeights(file.name)
    return SafetensorsHeader(shapes, {}, dict.fromkeys(shapes, "F16"))


def read_numbers(stream: BufferedReader, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, stream.read(struct.calcsize(layout)))


def read_number(stream: BufferedReader, layout: str) -> int:
    return read_numbers(stream, layout)[0]


def read_text(stream: BufferedReader) -> str:
    length = read_number(stream, "<Q")
    if length > MAX_TEXT_BYTES:
        raise ValueError("too long")
    return make_printable(stream.read(length).decode(errors="replace"))


def skip_value(stream: BufferedReader, kind: int) -> None:
    """Moves behind a value of metadata. Raises ValueError for an unknown type."""
    if kind == TEXT:
        read_text(stream)
    elif kind == LIST:
        member, count = read_numbers(stream, "<IQ")
        if member in VALUE_BYTES:
            stream.seek(VALUE_BYTES[member] * count, 1)
        else:
            if count > MAX_COUNT * 10:
                raise ValueError("too long")
            for _ in range(count):
                skip_value(stream, member)
    elif kind in VALUE_BYTES:
        stream.seek(VALUE_BYTES[kind], 1)
    else:
        raise ValueError("unknown type")
