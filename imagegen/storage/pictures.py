"""The library of pictures in SQLite: whose they are, their receipts, and how they are found."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from pydantic import ValidationError

from imagegen.errors import UnknownPicture
from imagegen.schema.pictures import TASK_BY_TOOL, AlbumInfo, LibraryPicture, LibraryUse, PictureQuery
from imagegen.schema.receipt import Picture, Receipt
from imagegen.storage.database import Database
from imagegen.storage.input_ids import find_input_ids
from imagegen.storage.search_words import build_index_text, build_match

INSERT_PICTURE = """
INSERT OR IGNORE INTO pictures
    (id, owner, job, created, task, model, width, height, size_bytes, receipt)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
SELECT_PICTURES = """
SELECT number, id, created, favourite, job, receipt FROM pictures
WHERE owner = ? AND deleted IS NULL {filters} ORDER BY number DESC LIMIT ?
"""
DELETE_OLDEST = """
UPDATE pictures SET deleted = 0 WHERE number IN (
    SELECT number FROM (
        SELECT number, TOTAL(size_bytes) OVER (ORDER BY number) - size_bytes AS freed
        FROM pictures WHERE deleted IS NULL AND NOT favourite {where}
    ) WHERE freed < ?
)
"""
SELECT_ALBUMS = "SELECT album FROM albums WHERE picture = ? ORDER BY album"
COUNT_USE = "SELECT COUNT(*), TOTAL(size_bytes) FROM pictures WHERE deleted IS NULL"


class PictureStore:
    """Users are named by their ids. Nothing is found that belongs to another user, or that was deleted."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, owner: str, job_id: str, pictures: Sequence[Picture], created: float | None = None) -> None:
        """Adds the pictures of a job, those that are there already excepted. `created` is in seconds since 1970: now.

        The last one gets the lowest number, so that a list with the newest first has a batch in its own order.
        """
        for picture in reversed(pictures):
            receipt = picture.receipt
            values = (
                *(picture.id, owner, job_id, created or time.time(), receipt.task, receipt.model_id or ""),
                *(*receipt.size, picture.size_bytes, receipt.model_dump_json()),
            )
            added = self.database.execute(INSERT_PICTURE, values)
            if added.rowcount:
                self._index(added.lastrowid, receipt)

    def owns(self, owner: str, picture_id: str) -> bool:
        query = "SELECT 1 FROM pictures WHERE owner = ? AND id = ? AND deleted IS NULL"
        return self.database.execute(query, (owner, picture_id)).fetchone() is not None

    def get(self, owner: str, picture_id: str) -> LibraryPicture | None:
        query = SELECT_PICTURES.format(filters="AND id = ?")
        row = self.database.execute(query, (owner, picture_id, 1)).fetchone()
        return self._read(row) if row is not None else None

    def search(self, owner: str, query: PictureQuery) -> list[LibraryPicture]:
        """Returns the pictures of a page, newest first, and one more if there is another page.

        Raises UnknownPicture for an unknown `after`.
        """
        if query.after is not None and not self._list_numbers(owner, [query.after]):
            raise UnknownPicture(query.after)
        filters = list_filters(query)
        sql = SELECT_PICTURES.format(filters=" ".join(f"AND {condition}" for condition, _ in filters))
        values = [value for _, values in filters for value in values]
        rows = self.database.execute(sql, (owner, *values, query.limit + 1)).fetchall()
        return [self._read(row) for row in rows]

    def set_favourite(self, owner: str, picture_ids: Iterable[str], favourite: bool) -> None:
        rows = [(favourite, owner, picture_id) for picture_id in picture_ids]
        self.database.execute_many("UPDATE pictures SET favourite = ? WHERE owner = ? AND id = ?", rows)

    def set_albums(self, owner: str, picture_id: str, albums: Sequence[str]) -> None:
        numbers = self._list_numbers(owner, [picture_id])
        self.database.execute_many("DELETE FROM albums WHERE picture = ?", numbers)
        self.add_to_albums(owner, [picture_id], albums)

    def add_to_albums(self, owner: str, picture_ids: Iterable[str], albums: Sequence[str]) -> None:
        rows = [(owner, album, number) for (number,) in self._list_numbers(owner, picture_ids) for album in albums]
        self.database.execute_many("INSERT OR IGNORE INTO albums VALUES (?, ?, ?)", rows)

    def list_albums(self, owner: str) -> list[AlbumInfo]:
        """Returns the albums of a user that have pictures, by name."""
        query = """
        SELECT album, COUNT(*) FROM albums JOIN pictures ON picture = number
        WHERE albums.owner = ? AND deleted IS NULL GROUP BY album ORDER BY album
        """
        return [AlbumInfo(name=name, count=count) for name, count in self.database.execute(query, (owner,))]

    def set_deleted(self, owner: str, picture_ids: Iterable[str], deleted: float | None) -> int:
        """Marks pictures as deleted at a time in seconds since 1970, or brings them back. Returns how many changed."""
        query = "UPDATE pictures SET deleted = ? WHERE owner = ? AND id = ? AND (deleted IS NULL) = ?"
        rows = [(deleted, owner, picture_id, deleted is not None) for picture_id in picture_ids]
        return sum(self.database.execute(query, row).rowcount for row in rows)

    def count_use(self, owner: str | None = None) -> LibraryUse:
        """Returns the use of the disk by one user, or by all."""
        where, values = ("", ()) if owner is None else (" AND owner = ?", (owner,))
        count, size_bytes = self.database.execute(COUNT_USE + where, values).fetchone()
        return LibraryUse(pictures=count, size_bytes=int(size_bytes))

    def count_unmarked(self, owner: str, created_before: float) -> int:
        """Returns how many pictures of a user, but for favourites, are from before a time in seconds since 1970."""
        query = "SELECT COUNT(*) FROM pictures WHERE owner = ? AND deleted IS NULL AND NOT favourite AND created < ?"
        (count,) = self.database.execute(query, (owner, created_before)).fetchone()
        return int(count)

    def list_owners(self) -> list[str]:
        """Returns the ids of all users who have pictures."""
        return [owner for (owner,) in self.database.execute("SELECT DISTINCT owner FROM pictures")]

    def delete_older(self, created_before: float) -> None:
        """Marks all pictures but favourites from before a time in seconds since 1970 as deleted long ago."""
        query = "UPDATE pictures SET deleted = 0 WHERE created < ? AND NOT favourite AND deleted IS NULL"
        self.database.execute(query, (created_before,))

    def delete_oldest(self, limit_bytes: float, owner: str | None = None) -> None:
        """Marks the oldest pictures of a user, or of all, as deleted long ago, until the rest is within the limit.

        Favourites count and stay.
        """
        excess = self.count_use(owner).size_bytes - limit_bytes
        if excess <= 0:
            return
        where, values = ("", ()) if owner is None else ("AND owner = ?", (owner,))
        self.database.execute(DELETE_OLDEST.format(where=where), (*values, excess))

    def list_deleted(self, deleted_before: float) -> list[str]:
        """Returns the ids of pictures that were deleted before a time in seconds since 1970."""
        query = "SELECT id FROM pictures WHERE deleted < ?"
        return [picture_id for (picture_id,) in self.database.execute(query, (deleted_before,))]

    def remove(self, picture_ids: Iterable[str]) -> None:
        """Forgets pictures, of any user."""
        rows = [(picture_id,) for picture_id in picture_ids]
        for table, column in (("picture_words", "rowid"), ("picture_loras", "picture"), ("albums", "picture")):
            query = f"DELETE FROM {table} WHERE {column} = (SELECT number FROM pictures WHERE id = ?)"  # noqa: S608
            self.database.execute_many(query, rows)
        self.database.execute_many("DELETE FROM pictures WHERE id = ?", rows)

    def list_inputs(self) -> set[str]:
        """Returns the ids of the input pictures of all receipts, and perhaps other texts of the same form."""
        return find_input_ids(receipt for (receipt,) in self.database.execute("SELECT receipt FROM pictures"))

    def index_all(self) -> None:
        """Makes the index of words and LoRAs again from the receipts."""
        self.database.execute("DELETE FROM picture_words")
        self.database.execute("DELETE FROM picture_loras")
        for number, receipt_json in self.database.execute("SELECT number, receipt FROM pictures").fetchall():
            if (receipt := parse_receipt(receipt_json)) is not None:
                self._index(number, receipt)

    def _index(self, number: int | None, receipt: Receipt) -> None:
        words = build_index_text(receipt.prompt)
        self.database.execute("INSERT INTO picture_words (rowid, words) VALUES (?, ?)", (number, words))
        rows = [(used.lora, number) for used in receipt.loras]
        self.database.execute_many("INSERT OR IGNORE INTO picture_loras VALUES (?, ?)", rows)

    def _list_numbers(self, owner: str, picture_ids: Iterable[str]) -> list[tuple[int]]:
        query = "SELECT number FROM pictures WHERE owner = ? AND id = ?"
        found = (self.database.execute(query, (owner, picture_id)).fetchone() for picture_id in picture_ids)
        return [row for row in found if row is not None]

    def _read(self, row: tuple[int, str, float, int, str, str]) -> LibraryPicture:
        number, picture_id, created, favourite, job_id, receipt_json = row
        return LibraryPicture(
            id=picture_id,
            created=created,
            favourite=bool(favourite),
            albums=tuple(album for (album,) in self.database.execute(SELECT_ALBUMS, (number,))),
            job_id=job_id,
            receipt=parse_receipt(receipt_json),
        )


def list_filters(query: PictureQuery) -> list[tuple[str, tuple[object, ...]]]:
    """Returns the conditions of a query in SQL, each with its values."""
    filters: list[tuple[str, tuple[object, ...]]] = []
    if query.search.strip():
        match = build_match(query.search)
        found = "number IN (SELECT rowid FROM picture_words WHERE picture_words MATCH ?)"
        filters.append((found, (match,)) if match is not None else ("0", ()))
    if query.lora is not None:
        filters.append(("number IN (SELECT picture FROM picture_loras WHERE lora = ?)", (query.lora,)))
    if query.album is not None:
        own = "number IN (SELECT picture FROM albums WHERE albums.owner = pictures.owner AND album = ?)"
        filters.append((own, (query.album,)))
    if query.after is not None:
        filters.append(("number < (SELECT number FROM pictures WHERE id = ?)", (query.after,)))
    task = TASK_BY_TOOL[query.tool] if query.tool is not None else None
    since, until = query.since and query.since.timestamp(), query.until and query.until.timestamp()
    for condition, value in (
        ("model = ?", query.model),
        ("task = ?", task),
        ("favourite = ?", query.favourite),
        ("id = ?", query.id),
        ("created >= ?", since),
        ("created < ?", until),
    ):
        if value is not None:
            filters.append((condition, (value,)))
    return [*filters, ("(width, height) = (?, ?)", query.sides)] if query.sides is not None else filters


def parse_receipt(receipt_json: str) -> Receipt | None:
    """Returns None for what another version of the studio wrote and this one cannot read."""
    try:
        return Receipt.model_validate_json(receipt_json)
    except ValidationError:
        return None
