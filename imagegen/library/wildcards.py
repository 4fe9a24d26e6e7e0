"""Wildcards on disk: text files in the folder `wildcards` of the models folder, with one choice per line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

from imagegen.errors import InvalidRequest
from imagegen.library import references
from imagegen.schema.field_types import check_printable
from imagegen.schema.wildcards import WILDCARD_PATTERN
from imagegen.text import truncate

SUFFIX = ".txt"
MAX_FILES = 10_000
MAX_FILE_BYTES = 4_000_000
# Of all files that fit a pattern.
MAX_LINES = 1_000_000
# Of the names in an error message.
MAX_NAMES = 20


class WildcardFolder:
    """The wildcards by their names: the path of a file below the folder, without `.txt`.

    Links to places outside of the folder are followed only with `follow_links`.
    """

    def __init__(self, folder: Path, follow_links: bool = False) -> None:
        self.folder, self.follow_links = folder, follow_links

    def list_names(self) -> list[str]:
        """Returns the names that a prompt can have, at most MAX_FILES of them. Reads the folder."""
        return sorted(islice(self._scan(), MAX_FILES))

    def read_lines(self, name: str) -> tuple[str, ...]:
        """Returns the choices of a wildcard, or of all whose names fit a pattern with `*`. Reads files.

        Raises InvalidRequest for the field "prompt".
        """
        if "*" not in name:
            return self._read_file(name)
        names = self.list_names()
        if len(names) == MAX_FILES:
            raise InvalidRequest("prompt", f"must name fewer wildcards than {truncate(name)}: they are too long")
        fitting = [each for each in names if fnmatchcase(each, name.replace("[", "[[]"))]
        if not fitting:
            raise self._report_unknown(name)
        lines: list[str] = []
        for each in fitting:
            lines += self._read_file(each)
            if len(lines) > MAX_LINES:
                raise InvalidRequest("prompt", f"must name fewer wildcards than {truncate(name)}: they are too long")
        return tuple(lines)

    def _scan(self) -> Iterator[str]:
        if self.folder.is_symlink() and not self.follow_links:
            return
        for folder, _, files in os.walk(self.folder, followlinks=self.follow_links):
            for file in files:
                path = Path(folder, file)
                name = path.relative_to(self.folder).as_posix().removesuffix(SUFFIX)
                is_usable = file.endswith(SUFFIX) and references.is_safe_path(name) and path.is_file()
                if is_usable and WILDCARD_PATTERN.fullmatch(f"__{name}__") and self._find_link(path) is None:
                    yield name

    def _read_file(self, name: str) -> tuple[str, ...]:
        path = references.find_below(self.folder, name + SUFFIX)
        if path is None or not path.is_file():
            raise self._report_unknown(name)
        if (link := self._find_link(path)) is not None:
            raise self._report_unusable(name, references.describe_outside_link(link))
        try:
            with path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except OSError:
            raise self._report_unusable(name, "its file cannot be read") from None
        if len(content) > MAX_FILE_BYTES:
            raise self._report_unusable(name, f"its file has more than {MAX_FILE_BYTES // 10**6} MB")
        try:
            text = check_printable(content.decode("utf-8-sig"))
        except ValueError:
            raise self._report_unusable(name, "its file is not text in UTF-8") from None
        lines = (line.strip() for line in text.replace("\r", "\n").split("\n"))
        choices = tuple(line for line in lines if line and not line.startswith("#"))
        if not choices:
            raise self._report_unusable(name, "its file has no line with a choice")
        return choices

    def _find_link(self, path: Path) -> Path | None:
        """Returns a link on the way to a path that must not be followed, if there is one."""
        if self.follow_links:
            return None
        return self.folder if self.folder.is_symlink() else references.find_outside_link(self.folder, path)

    def _report_unknown(self, name: str) -> InvalidRequest:
        names = self.list_names()
        if not names:
            problem = f"there is no wildcard {truncate(name)}: the folder wildcards of the models folder has none"
            return InvalidRequest("prompt", problem)
        shown = ", ".join([*names[:MAX_NAMES], *(["…"] if len(names) > MAX_NAMES else [])])
        return InvalidRequest("prompt", f"there is no wildcard {truncate(name)}; there are {shown}")

    def _report_unusable(self, name: str, problem: str) -> InvalidRequest:
        return InvalidRequest("prompt", f"__{truncate(name)}__ cannot be used: {problem}")
