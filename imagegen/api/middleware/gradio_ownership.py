"""Records which user owns a Gradio session, event or upload; Gradio itself keeps no owners."""

from __future__ import annotations

import asyncio
import posixpath
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from imagegen.errors import InvalidRequest, NotFound, UnknownPicture
from imagegen.schema.base import User
from imagegen.service import Service

MAX_ENTRIES = 20_000


class GradioOwnership:
    """The owners of names. The user who uses a name first owns it; the least recently used names are dropped first."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self.max_entries = max_entries
        self._owners: OrderedDict[str, set[str]] = OrderedDict()

    def register(self, name: str, user: User) -> None:
        """Makes the user the owner of a name without an owner. Raises NotFound if another user owns it."""
        if user.id not in self._owners.setdefault(name, {user.id}):
            raise NotFound
        self._mark_used(name)

    def add_owner(self, name: str, user: User) -> None:
        """Makes the user one more owner of the name."""
        self._owners.setdefault(name, set()).add(user.id)
        self._mark_used(name)

    def remove_owner(self, user_id: str) -> list[str]:
        """Removes a user from all their names. Returns those that belong to nobody now, which are forgotten."""
        names = [name for name, owners in self._owners.items() if user_id in owners]
        for name in names:
            self._owners[name].discard(user_id)
        orphans = [name for name in names if not self._owners[name]]
        for name in orphans:
            del self._owners[name]
        return orphans

    def check_owner(self, name: str, user: User) -> None:
        """Raises NotFound if the user does not own the name."""
        if user.id not in self._owners.get(name, ()):
            raise NotFound

    def _mark_used(self, name: str) -> None:
        self._owners.move_to_end(name)
        while len(self._owners) > self.max_entries:
            self._owners.popitem(last=False)


class FileAccess:
    """Which files on the server a user may read: their pictures, their input pictures and their uploads."""

    def __init__(self, service: Service, upload_dir: Path) -> None:
        self.service, self.upload_dir = service, upload_dir
        self._upload_ownership = GradioOwnership()

    def register_uploads(self, files: Iterable[str], user: User) -> None:
        for file in files:
            self._upload_ownership.add_owner(posixpath.normpath(file), user)

    async def delete_uploads(self, user_id: str) -> int:
        """Deletes the files that only this user uploaded, and returns how many there were. Raises OSError."""
        files = self._upload_ownership.remove_owner(user_id)
        await asyncio.to_thread(delete_files, files)
        return len(files)

    async def check_access(self, file: str, user: User) -> None:
        """Raises NotFound."""
        path, images = Path(posixpath.normpath(file)), self.service.images
        try:
            if path.parent in (images.pictures_dir, images.thumbnails_dir):
                await self.service.pictures.get_path(path.stem, user)
            elif path.parent == images.inputs_dir:
                await self.service.get_input_path(path.stem, user)
            elif path.is_relative_to(self.upload_dir):
                self._upload_ownership.check_owner(str(path), user)
            else:
                raise NotFound
        except UnknownPicture:
            raise NotFound from None

    async def check_referenced_files(self, body: Any, user: User) -> None:
        """Checks the access to every file that a body for Gradio names. Raises NotFound.

        Raises InvalidRequest for an address, which Gradio would fetch by itself without a limit on size and time.
        """
        for file in find_file_paths(body):
            if "://" in file:
                raise InvalidRequest("path", "must be an uploaded file, not an address")
            await self.check_access(file, user)


def delete_files(files: Iterable[str]) -> None:
    """Deletes files that may be gone already. Raises OSError."""
    for file in files:
        Path(file).unlink(missing_ok=True)


def find_file_paths(value: Any) -> Iterator[str]:
    """Yields each `path` of the file objects in a value, at any depth."""
    pending = [value]
    while pending:
        match pending.pop():
            case {"path": str(path), **others}:
                yield path
                pending.extend(others.values())
            case dict(members):
                pending.extend(members.values())
            case list(items):
                pending.extend(items)
