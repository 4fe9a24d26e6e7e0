"""Frees the disk: deleted pictures, old ones beyond the limits of the settings, and files that nothing needs."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagegen.settings import Settings
from imagegen.storage.files import ImageStore
from imagegen.storage.storage import Storage, Tables

logger = logging.getLogger(__name__)

SECONDS_PER_DAY = 24 * 3600
INTERVAL_SECONDS, FULL_INTERVAL_SECONDS = 60, 3600
# How long a deleted picture can be brought back. The page offers it for ten seconds.
UNDO_SECONDS = 60
# How long uploads, ended jobs without pictures and compiled networks stay after their last use.
UPLOAD_DAYS, JOB_DAYS, COMPILED_DAYS = 7, 7, 30
# How long the progress of an ended job stays, for clients that connect again.
PROGRESS_DAYS = 1
# Rows of one transaction, between which other requests have their turn.
BATCH = 200
PATTERNS = ("*.pt2", "*.safetensors")


@dataclass(frozen=True)
class StorageLimits:
    """What the library may hold; None is no limit. Favourites stay in any case."""

    keep_days: float | None
    user_bytes: float | None
    all_bytes: float | None

    @classmethod
    def from_settings(cls, settings: Settings) -> StorageLimits:
        user_gb, all_gb = settings.library_gb_per_user, settings.library_gb
        return cls(settings.keep_days, user_gb and user_gb * 1e9, all_gb and all_gb * 1e9)


class StorageCleaner:
    """`run` deletes pictures each minute, and the rest each hour. `compiled_folder` has compiled networks."""

    def __init__(self, storage: Storage, images: ImageStore, limits: StorageLimits, compiled_folder: Path) -> None:
        self.storage, self.images, self.limits, self.compiled_folder = storage, images, limits, compiled_folder

    async def run(self) -> None:
        last_full = -math.inf
        while True:
            await self.clean_pictures(time.time())
            if time.monotonic() - last_full > FULL_INTERVAL_SECONDS:
                await self.clean_rest(time.time())
                last_full = time.monotonic()
            await asyncio.sleep(INTERVAL_SECONDS)

    async def clean_pictures(self, now: float) -> None:
        """Frees the pictures that can be freed at a time in seconds since 1970. Raises StorageUnavailable, OSError."""
        await self.storage.write(lambda tables: delete_beyond_limits(tables, self.limits, now))
        if count := await self._purge_pictures(now - UNDO_SECONDS):
            logger.info("Pictures were deleted", extra={"action": "pictures_deleted", "pictures": count})

    async def clean_rest(self, now: float) -> None:
        """Frees uploads, jobs and compiled networks that nothing needs at a time in seconds since 1970.

        Reads all receipts. Raises StorageUnavailable and OSError.
        """
        if count := await self._purge_uploads(now - UPLOAD_DAYS * SECONDS_PER_DAY):
            logger.info("Uploads were deleted", extra={"action": "uploads_deleted", "uploads": count})
        await self._purge_jobs(now)
        await asyncio.to_thread(delete_unused, self.compiled_folder, now - COMPILED_DAYS * SECONDS_PER_DAY)

    async def _purge_pictures(self, deleted_before: float) -> int:
        """Files go first: a picture whose row is left is purged again."""
        ids = await self.storage.read(lambda tables: tables.pictures.list_deleted(deleted_before))
        for batch in split(ids):
            await asyncio.to_thread(for_each, self.images.delete_picture, batch)
            await self._forget_pictures(batch)
        return len(ids)

    async def _purge_uploads(self, used_before: float) -> int:
        old = await asyncio.to_thread(self.images.list_inputs, used_before)
        if not old:
            return 0
        needed = await self.storage.read(lambda tables: tables.pictures.list_inputs() | tables.jobs.list_inputs())
        unneeded = [image_id for image_id in old if image_id not in needed]
        for batch in split(unneeded):
            await self._forget_inputs(batch)
            await asyncio.to_thread(for_each, self.images.delete_input, batch)
        return len(unneeded)

    async def _forget_pictures(self, picture_ids: Sequence[str]) -> None:
        await self.storage.write(lambda tables: tables.pictures.remove(picture_ids))

    async def _forget_inputs(self, image_ids: Sequence[str]) -> None:
        await self.storage.write(lambda tables: tables.ownership.remove_inputs(image_ids))

    async def _purge_jobs(self, now: float) -> None:
        await self._repeat(lambda tables: tables.jobs.remove_progress(now - PROGRESS_DAYS * SECONDS_PER_DAY, BATCH))
        await self._repeat(lambda tables: tables.jobs.remove_old(now - JOB_DAYS * SECONDS_PER_DAY, BATCH))

    async def _repeat(self, remove: Callable[[Tables], int]) -> None:
        """Calls a function, which returns how many rows it removed, until it has none left."""
        while await self.storage.write(remove):
            pass


def delete_beyond_limits(tables: Tables, limits: StorageLimits, now: float) -> None:
    """Marks the pictures that are too old or too many as deleted, long enough ago to be purged at once."""
    pictures = tables.pictures
    if limits.keep_days is not None:
        pictures.delete_older(now - limits.keep_days * SECONDS_PER_DAY)
    if limits.user_bytes is not None:
        for owner in pictures.list_owners():
            pictures.delete_oldest(limits.user_bytes, owner)
    if limits.all_bytes is not None:
        pictures.delete_oldest(limits.all_bytes)


def delete_unused(folder: Path, used_before: float) -> None:
    """Deletes compiled networks that were not used since a time in seconds since 1970. Raises OSError."""
    for pattern in PATTERNS:
        for file in folder.glob(pattern):
            if file.stat().st_mtime < used_before:
                file.unlink(missing_ok=True)


def split(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[first : first + BATCH] for first in range(0, len(ids), BATCH))


def for_each(function: Callable[[str], None], ids: Iterable[str]) -> None:
    for each in ids:
        function(each)
