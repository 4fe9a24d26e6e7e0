"""What administrators see of the data of users."""

from __future__ import annotations

from pydantic import Field

from imagegen.schema.base import FrozenModel


class UserUse(FrozenModel):
    """What the studio keeps of a user."""

    id: str
    pictures: int = Field(description="Pictures on the disk, also those that were deleted less than a minute ago.")
    jobs: int
    size_bytes: int = Field(description="The disk space of the pictures and start images, in bytes.")


class RemovedRows(FrozenModel):
    """How much of a user was removed from the database."""

    pictures: int
    jobs: int
    inputs: int = Field(description="Start images, also those whose file stays because another user has the same.")
    albums: int
    idempotency_keys: int
    cached_results: int


class PurgedUser(RemovedRows):
    id: str
    cancelled_jobs: int = Field(description="How many of the jobs were queued or running.")
    is_erased: bool = Field(
        description="Whether the database was rewritten, so that nothing of the removed rows is left in its file. False"
        " if the disk has too little space for that; the next purge does it."
    )
    copies: tuple[str, ...] = Field(
        description="Files in the data folder that are copies of the database from an update or a recovery. They may"
        " still have data of the user."
    )
