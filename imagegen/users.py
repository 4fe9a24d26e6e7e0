"""What administrators do with the data of other users: list it, export it, and purge it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from imagegen.errors import AdministratorRequired, StorageUnavailable, StudioStopping, UnknownUser
from imagegen.jobs.dispatcher import Dispatcher
from imagegen.jobs.event_log import EventLog
from imagegen.media.zip_stream import stream_zip
from imagegen.schema.base import User
from imagegen.schema.users import PurgedUser, RemovedRows, UserUse
from imagegen.storage.files import ImageStore
from imagegen.storage.storage import Tables
from imagegen.storage.users import StoredUser
from imagegen.supervision import run_to_end

logger = logging.getLogger(__name__)


class UserAdministration:
    """In an open studio all users are administrators of models, and none is one of other users.

    All methods raise AdministratorRequired and StorageUnavailable.
    """

    def __init__(self, event_log: EventLog, dispatcher: Dispatcher, images: ImageStore, is_open: bool) -> None:
        self.event_log, self.dispatcher, self.images, self.is_open = event_log, dispatcher, images, is_open
        self.storage = event_log.storage

    async def list_uses(self, administrator: User) -> list[UserUse]:
        """Returns the users that have data, by id."""
        self._check(administrator, "see what users have")
        sizes = await asyncio.to_thread(self.images.list_input_sizes)
        return await self.storage.read(lambda tables: tables.users.list_uses(sizes))

    async def export(self, user_id: str, administrator: User) -> Iterator[bytes]:
        """Returns the parts of a zip archive of all that a user has, which is made as it is read.

        The file `user.json` has the jobs, the receipts and the albums. Raises UnknownUser.
        """
        self._check(administrator, "export what a user has")

        def read(tables: Tables) -> StoredUser:
            check_known(tables, user_id)
            return tables.users.read(user_id)

        stored = await self.storage.read(read)
        logger.info("A user is exported", extra=build_log_fields("user_exported", user_id, administrator))
        return stream_zip(self._read_files(user_id, stored))

    async def purge(self, user_id: str, administrator: User) -> PurgedUser:
        """Ends the jobs of a user, and removes all that they have from the database and the disk.

        What they send meanwhile is removed too, what they send later is not. Raises UnknownUser and StudioStopping.
        """
        self._check(administrator, "purge what a user has")
        await self.storage.read(lambda tables: check_known(tables, user_id))
        purged = await run_to_end(self._purge(user_id))
        counts = purged.model_dump(exclude={"id"})
        logger.info("A user was purged", extra=build_log_fields("user_purged", user_id, administrator) | counts)
        return purged

    def _check(self, administrator: User, action: str) -> None:
        if self.is_open or not administrator.is_administrator:
            raise AdministratorRequired(action)

    def _read_files(self, user_id: str, stored: StoredUser) -> Iterator[tuple[str, bytes]]:
        """Yields the files of an archive, each with its name. Leaves out those that were deleted meanwhile."""
        document = build_user_document(user_id, stored)
        yield "user.json", json.dumps(document, indent=1, ensure_ascii=False).encode()
        picture_ids = [picture_id for picture_id, *_ in stored.pictures]
        yield from read_files("pictures", picture_ids, self.images.picture_path)
        yield from read_files("inputs", stored.input_ids, self.images.input_path)

    async def _purge(self, user_id: str) -> PurgedUser:
        cancelled, removed = 0, None
        while removed is None:
            cancelled += await self._end_jobs(user_id)
            await self._delete_pictures(user_id)
            removed = await self.storage.write(lambda tables: self._remove(tables, user_id))
        return PurgedUser(
            **removed.model_dump(),
            id=user_id,
            cancelled_jobs=cancelled,
            is_erased=await self._compact(),
            copies=tuple(self.storage.list_copies()),
        )

    async def _end_jobs(self, user_id: str) -> int:
        """Cancels the queued and running jobs of a user, waits for their ends, and returns how many there were."""
        jobs = await self.storage.read(lambda tables: tables.jobs.list_unfinished(user_id))
        for job in reversed(jobs):  # Those that wait come first, so that none of them starts.
            await self.dispatcher.cancel(job.id)
        for job in jobs:
            async for _ in self.event_log.follow(job.id):
                pass
        if self.event_log.monitor.is_stopped:
            raise StudioStopping
        return len(jobs)

    async def _delete_pictures(self, user_id: str) -> None:
        """Files go first: after a crash, the user is still known and can be purged again."""
        ids = await self.storage.read(lambda tables: tables.users.list_pictures(user_id))
        await asyncio.to_thread(for_each, self.images.delete_picture, ids)

    def _remove(self, tables: Tables, user_id: str) -> RemovedRows | None:
        """Removes all rows of a user, and the input pictures that no other user needs. Does nothing while a job runs.

        The files are deleted inside the transaction: `Service.add_input`, which writes the file before the row, finds
        out whether it still has the file.
        """
        if tables.jobs.list_unfinished(user_id):
            return None
        picture_ids, input_ids = tables.users.list_pictures(user_id), tables.users.list_inputs(user_id)
        removed = tables.users.remove(user_id)
        for_each(self.images.delete_picture, picture_ids)
        for_each(self.images.delete_input, list_unneeded_inputs(tables, input_ids))
        return removed

    async def _compact(self) -> bool:
        """Returns whether nothing of the removed rows is left in the file of the database."""
        try:
            await self.storage.compact()
        except StorageUnavailable as error:
            logger.error("The database was not rewritten: %s", error, extra={"action": "storage_unavailable"})
            return False
        return True


def check_known(tables: Tables, user_id: str) -> None:
    """Raises UnknownUser."""
    if not tables.users.is_known(user_id):
        raise UnknownUser(user_id)


def list_unneeded_inputs(tables: Tables, input_ids: Iterable[str]) -> set[str]:
    """Returns those of the input pictures that belong to nobody, and that no receipt and no waiting job names."""
    without_owner = set(input_ids) - tables.ownership.list_inputs()
    # Reads all receipts.
    return without_owner and without_owner - tables.pictures.list_inputs() - tables.jobs.list_inputs()


def build_log_fields(action: str, user_id: str, administrator: User) -> dict[str, Any]:
    return {"action": action, "user": user_id, "administrator": administrator.id}


def build_user_document(user_id: str, stored: StoredUser) -> dict[str, Any]:
    """Returns the content of `user.json`. Times are in seconds since 1970."""
    albums: dict[str, list[str]] = {}
    for picture_id, album in stored.albums:
        albums.setdefault(album, []).append(picture_id)
    return {
        "id": user_id,
        "pictures": [
            {
                "id": each,
                "job_id": job,
                "created": created,
                "favourite": bool(favourite),
                "receipt": json.loads(receipt),
            }
            for each, job, created, favourite, receipt in stored.pictures
        ],
        "albums": albums,
        "jobs": [
            {"id": each, "state": state, "created": created, "started": started, "finished": finished}
            | {"request": json.loads(request)}
            for each, state, created, started, finished, request in stored.jobs
        ],
        "inputs": stored.input_ids,
    }


def read_files(folder: str, ids: Iterable[str], build_path: Callable[[str], Path]) -> Iterator[tuple[str, bytes]]:
    """Yields the files that exist, each with its name in a folder of the archive."""
    for each in ids:
        path = build_path(each)
        try:
            yield f"{folder}/{path.name}", path.read_bytes()
        except FileNotFoundError:
            continue


def for_each(function: Callable[[str], None], ids: Iterable[str]) -> None:
    for each in ids:
        function(each)
