"""What Gradio keeps for those who use the page, and does not keep apart: sessions, events and uploads."""

from __future__ import annotations

import posixpath
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from imagegen.errors import InvalidRequest, NotFound, UnknownPicture
from imagegen.schema import User
from imagegen.service import Service

MOST = 20_000


class Claims:
    """Who named something first, whose it is then; the oldest are forgotten when there are too many."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._owners: OrderedDict[str, set[str]] = OrderedDict()

    def claim(self, thing: str, user: User) -> None:
        """Raises NotFound when it is somebody else's."""
        if user.id not in self._owners.setdefault(thing, {user.id}):
            raise NotFound
        self._touch(thing)

    def share(self, thing: str, user: User) -> None:
        """It is also this user's."""
        self._owners.setdefault(thing, set()).add(user.id)
        self._touch(thing)

    def check(self, thing: str, user: User) -> None:
        """Raises NotFound when it is not this user's."""
        if user.id not in self._owners.get(thing, ()):
            raise NotFound

    def _touch(self, thing: str) -> None:
        self._owners.move_to_end(thing)
        while len(self._owners) > self.most:
            self._owners.popitem(last=False)


class Files:
    """Which files on the server a user may see: his pictures, what he started from, and what he uploaded."""

    def __init__(self, service: Service, uploads: Path) -> None:
        self.service, self.uploads = service, uploads
        self._uploaded = Claims()

    def uploaded(self, files: Iterable[str], user: User) -> None:
        for file in files:
            self._uploaded.share(posixpath.normpath(file), user)

    def check(self, file: str, user: User) -> None:
        """Raises NotFound."""
        path, images = Path(posixpath.normpath(file)), self.service.images
        try:
            if path.parent == images.pictures:
                self.service.picture(path.stem, user)
            elif path.parent == images.inputs:
                self.service.input(path.stem, user)
            elif path.is_relative_to(self.uploads):
                self._uploaded.check(str(path), user)
            else:
                raise NotFound
        except UnknownPicture:
            raise NotFound from None

    def check_named(self, body: Any, user: User) -> None:
        """The same for all files that a body for Gradio names. Raises InvalidRequest for one elsewhere on the web.

        Gradio would fetch that by itself, however large it is and however long it takes.
        """
        for file in named_files(body):
            if "://" in file:
                raise InvalidRequest("path", "must be an uploaded file, not an address")
            self.check(file, user)


def named_files(value: Any) -> Iterator[str]:
    """Each `path` in objects that stand for files, however deep."""
    rest = [value]
    while rest:
        match rest.pop():
            case {"path": str(path), **others}:
                yield path
                rest.extend(others.values())
            case dict(members):
                rest.extend(members.values())
            case list(items):
                rest.extend(items)
