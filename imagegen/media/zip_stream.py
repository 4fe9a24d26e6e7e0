"""Zip archives that are sent while they are made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from zipfile import ZIP_STORED, ZipFile


class SentBytes:
    """A file that can only be written to: `take` returns what was written since the last call."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, content: bytes) -> int:
        self._parts.append(bytes(content))
        return len(content)

    def flush(self) -> None:
        """Does nothing: nothing is held back."""

    def take(self) -> bytes:
        content = b"".join(self._parts)
        self._parts.clear()
        return content


def stream_zip(files: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """Yields an archive of files, each with its name and its content, as fast as it is read.

    `files` may read each file when it is its turn. Pictures are compressed already, and stored as they are.
    """
    sent = SentBytes()
    with ZipFile(sent, "w", ZIP_STORED) as archive:  # type: ignore[call-overload] # It needs no more than this.
        for name, content in files:
            archive.writestr(name, content)
            yield sent.take()
    yield sent.take()
