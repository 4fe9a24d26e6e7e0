"""The library: the finished pictures of each user, with their receipts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from imagegen.errors import UnknownPicture
from imagegen.file_names import build_file_name
from imagegen.jobs.cleaner import SECONDS_PER_DAY, StorageLimits
from imagegen.media.outputs import ImageFormat
from imagegen.media.zip_stream import stream_zip
from imagegen.schema.base import User
from imagegen.schema.pictures import (
    EXPIRY_NOTICE_DAYS,
    AlbumInfo,
    LibraryPage,
    LibraryPicture,
    LibraryUsage,
    LibraryUse,
    PictureChange,
    PictureQuery,
)
from imagegen.storage.files import ImageStore
from imagegen.storage.storage import Storage, Tables


class PictureLibrary:
    """Finds and changes pictures. Those of other users do not exist: their ids raise UnknownPicture.

    All methods raise StorageUnavailable. `file_name_pattern` is that of the settings.
    """

    def __init__(self, storage: Storage, images: ImageStore, limits: StorageLimits, file_name_pattern: str) -> None:
        self.storage, self.images, self.limits, self.file_name_pattern = storage, images, limits, file_name_pattern

    async def search(self, query: PictureQuery, user: User) -> LibraryPage:
        """Returns a page of the user's pictures, newest first. Raises UnknownPicture for an unknown `after`."""
        found = await self.storage.read(lambda tables: tables.pictures.search(user.id, query))
        page = tuple(found[: query.limit])
        return LibraryPage(pictures=page, next=page[-1].id if len(found) > len(page) else None)

    async def get(self, picture_id: str, user: User) -> LibraryPicture:
        """Raises UnknownPicture."""
        return await self.storage.read(lambda tables: get_picture(tables, picture_id, user))

    async def get_path(self, picture_id: str, user: User) -> Path:
        """Returns the file of a picture. Raises UnknownPicture."""
        file = self.images.picture_path(picture_id)
        if not await self.storage.read(lambda tables: tables.pictures.owns(user.id, picture_id) and file.exists()):
            raise UnknownPicture(picture_id)
        return file

    async def get_thumbnail(self, picture_id: str, user: User) -> Path:
        """Returns the file with the thumbnail of a picture. Raises UnknownPicture."""
        await self.get_path(picture_id, user)
        return await asyncio.to_thread(self.images.get_thumbnail, picture_id)

    async def change(self, picture_id: str, change: PictureChange, user: User) -> LibraryPicture:
        """Changes a picture, and returns it. Raises UnknownPicture."""

        def apply(tables: Tables) -> LibraryPicture:
            if change.deleted is False:
                tables.pictures.set_deleted(user.id, [picture_id], None)
            get_picture(tables, picture_id, user)
            if change.favourite is not None:
                tables.pictures.set_favourite(user.id, [picture_id], change.favourite)
            if change.albums is not None:
                tables.pictures.set_albums(user.id, picture_id, change.albums)
            return get_picture(tables, picture_id, user)

        return await self.storage.write(apply)

    async def set_favourite(self, picture_ids: Sequence[str], favourite: bool, user: User) -> None:
        """Ids that are unknown are left out."""
        await self.storage.write(lambda tables: tables.pictures.set_favourite(user.id, picture_ids, favourite))

    async def add_to_album(self, picture_ids: Sequence[str], album: str, user: User) -> None:
        """Ids that are unknown are left out."""
        await self.storage.write(lambda tables: tables.pictures.add_to_albums(user.id, picture_ids, [album]))

    async def delete(self, picture_ids: Sequence[str], user: User) -> int:
        """Deletes pictures, and returns how many there were. For UNDO_SECONDS, `restore` brings them back."""
        now = time.time()
        return await self.storage.write(lambda tables: tables.pictures.set_deleted(user.id, picture_ids, now))

    async def restore(self, picture_ids: Sequence[str], user: User) -> int:
        """Brings back pictures that were just deleted, and returns how many."""
        return await self.storage.write(lambda tables: tables.pictures.set_deleted(user.id, picture_ids, None))

    async def list_albums(self, user: User) -> list[AlbumInfo]:
        """Returns the albums of a user, by name."""
        return await self.storage.read(lambda tables: tables.pictures.list_albums(user.id))

    async def get_use(self, user: User | None = None) -> LibraryUse:
        """Returns how much of the disk the pictures of one user use, or those of all."""
        return await self.storage.read(lambda tables: tables.pictures.count_use(user.id if user is not None else None))

    async def get_usage(self, user: User) -> LibraryUsage:
        """Returns how much of the disk the pictures of a user use, and what bounds them."""
        limits, now = self.limits, time.time()

        def count(tables: Tables) -> LibraryUsage:
            use, expiring = tables.pictures.count_use(user.id), 0
            if limits.keep_days is not None:
                expired_before = now - (limits.keep_days - EXPIRY_NOTICE_DAYS) * SECONDS_PER_DAY
                expiring = tables.pictures.count_unmarked(user.id, expired_before)
            limit_bytes = None if limits.user_bytes is None else int(limits.user_bytes)
            return LibraryUsage(
                **use.model_dump(), limit_bytes=limit_bytes, keep_days=limits.keep_days, expiring=expiring
            )

        return await self.storage.read(count)

    async def zip(self, picture_ids: Sequence[str], user: User, file_format: ImageFormat = "png") -> Iterator[bytes]:
        """Returns the parts of a zip archive of pictures, which is made as it is read. Raises UnknownPicture."""

        def find(tables: Tables) -> list[LibraryPicture]:
            return [get_picture(tables, picture_id, user) for picture_id in dict.fromkeys(picture_ids)]

        pictures = await self.storage.read(find)
        names = make_unique([self.build_file_name(picture) for picture in pictures])
        return stream_zip(
            (f"{name}.{file_format}", self.images.read_picture(picture.id, file_format))
            for name, picture in zip(names, pictures, strict=True)
        )

    def build_file_name(self, picture: LibraryPicture) -> str:
        """Returns the name of a downloaded picture, without an ending."""
        receipt = picture.receipt
        return build_file_name(receipt, picture.created, self.file_name_pattern) if receipt is not None else picture.id


def get_picture(tables: Tables, picture_id: str, user: User) -> LibraryPicture:
    """Raises UnknownPicture."""
    picture = tables.pictures.get(user.id, picture_id)
    if picture is None:
        raise UnknownPicture(picture_id)
    return picture


def make_unique(names: Sequence[str]) -> list[str]:
    """Returns the names, with a number at the end of those that came before."""
    used: set[str] = set()
    result = []
    for name in names:
        unique, number = name, 2
        while unique.lower() in used:
            unique, number = f"{name}-{number}", number + 1
        used.add(unique.lower())
        result.append(unique)
    return result
