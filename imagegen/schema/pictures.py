"""The library of pictures: what a user may ask of it, and what it answers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictBool

from imagegen.errors import InvalidRequest
from imagegen.schema.base import FrozenModel
from imagegen.schema.field_types import check_printable
from imagegen.schema.receipt import Picture, Receipt
from imagegen.schema.tasks import TASKS, TaskName

# The most pictures of one page of the library, and of one request that names pictures.
MAX_PAGE = 200
MAX_IDS = 1000
MAX_ALBUMS = 20
# The studio warns the owner this many days before it deletes pictures for their age.
EXPIRY_NOTICE_DAYS = 7
TASK_BY_TOOL: dict[str, TaskName] = {task.endpoint: name for name, task in TASKS.items()}
SIZE_PATTERN = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")

PictureId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


def check_album(name: str) -> str:
    """Returns the name without spaces around it. Raises ValueError for an empty one and for control characters."""
    name = check_printable(name).strip()
    if not name:
        raise ValueError("must not be empty")
    return name


def check_tool(tool: str) -> str:
    if tool not in TASK_BY_TOOL:
        raise ValueError(f"must be one of {', '.join(TASK_BY_TOOL)}")
    return tool


def check_size(size: str) -> str:
    if not SIZE_PATTERN.fullmatch(size):
        raise ValueError("must be WIDTHxHEIGHT in pixels, such as 512x768")
    return size


def set_time_zone(time: datetime) -> datetime:
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


Album = Annotated[str, Field(max_length=100), AfterValidator(check_album)]
# Seconds since 1970, or a date and time as in ISO 8601, in UTC unless it says otherwise.
Time = Annotated[datetime, AfterValidator(set_time_zone)]


class PictureQuery(FrozenModel):
    """Which pictures of a user to list, newest first; filters that are None let all pass."""

    search: str = Field("", max_length=1000, description="Words of the prompt, or beginnings of words; all must be in.")
    model: str | None = Field(None, max_length=500, description="The id of the model, as in receipts.")
    lora: str | None = Field(None, max_length=500, description="The id of a LoRA, as in receipts.")
    tool: Annotated[str, AfterValidator(check_tool)] | None = Field(
        None, description=f"What made the picture: {', '.join(TASK_BY_TOOL)}."
    )
    size: Annotated[str, AfterValidator(check_size)] | None = Field(None, description="WIDTHxHEIGHT in pixels.")
    favourite: bool | None = Field(None, description="Only favourites, or only others.")
    album: Album | None = Field(None, description="Only pictures in this album.")
    since: Time | None = Field(None, description="Only pictures from this time on: seconds since 1970, or ISO 8601.")
    until: Time | None = Field(None, description="Only pictures before this time: seconds since 1970, or ISO 8601.")
    after: PictureId | None = Field(None, description="`next` of the page before: only older pictures.")
    limit: int = Field(50, ge=1, le=MAX_PAGE, description="The most pictures on a page.")
    id: PictureId | None = Field(None, description="Only the picture with this id, or none if it is not there.")

    @property
    def sides(self) -> tuple[int, int] | None:
        """Width and height in pixels."""
        found = SIZE_PATTERN.fullmatch(self.size) if self.size is not None else None
        return (int(found[1]), int(found[2])) if found else None


class PictureChange(FrozenModel):
    """What to change of a picture; None leaves it as it is. `deleted: false` brings a deleted picture back."""

    favourite: StrictBool | None = Field(None, description="Favourites are never deleted to free space.")
    albums: tuple[Album, ...] | None = Field(None, max_length=MAX_ALBUMS, description="The albums of the picture.")
    deleted: Literal[False] | None = Field(None, description="False brings back a picture that was just deleted.")


class LibraryPicture(FrozenModel):
    """A picture of the library.

    `created` is in seconds since 1970. `receipt` is None if another version of the studio wrote what this one cannot
    read.
    """

    id: str
    created: float
    favourite: bool
    albums: tuple[str, ...]
    job_id: str
    receipt: Receipt | None

    def to_picture(self) -> Picture:
        """Returns the picture with its receipt. Raises InvalidRequest if another version of the studio made it."""
        if self.receipt is None:
            raise InvalidRequest("picture", "has a receipt of another version of the studio")
        return Picture(id=self.id, receipt=self.receipt)


class LibraryPage(FrozenModel):
    """`next` is the `after` of the next page, None on the last."""

    pictures: tuple[LibraryPicture, ...]
    next: str | None


class AlbumInfo(FrozenModel):
    name: str
    count: int


class LibraryUse(FrozenModel):
    """How many pictures there are, and how much of the disk they use, in bytes."""

    pictures: int
    size_bytes: int


class LibraryUsage(LibraryUse):
    """A user's own pictures, and what bounds them."""

    limit_bytes: int | None = Field(
        description="The disk space for your pictures, in bytes. Beyond it, the oldest are deleted, but for favourites."
        " Null: no limit."
    )
    keep_days: float | None = Field(
        description="Days after which pictures are deleted, but for favourites. Null: never."
    )
    expiring: int = Field(description=f"How many are deleted within the next {EXPIRY_NOTICE_DAYS} days for their age.")
