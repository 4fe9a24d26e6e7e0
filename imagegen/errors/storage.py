"""Errors of stored data."""

from __future__ import annotations

from imagegen.errors.base import ImageGenError
from imagegen.errors.jobs import JobFailed


class DatabaseTooNew(ImageGenError):
    """{file} has version {version} and this studio reads up to {latest}: start a newer studio, or restore a backup."""

    code, status = "database_too_new", 500

    def __init__(self, file: str, version: int, latest: int) -> None:
        super().__init__(file=file, version=version, latest=latest)


class UnreadableJob(JobFailed):
    """Another version of the studio stored this job, and this one cannot read it. Please send the request again."""

    code, status = "unreadable", 409


class ResultLost(JobFailed):
    """The database was damaged, and the result of this job was lost. Please send the request again."""

    code, status = "result_lost", 410


class StorageUnavailable(ImageGenError):
    """The studio cannot use its database, because {problem}. Please try again in {retry_after} seconds."""

    code, status = "storage_unavailable", 503
    retry_after = 5

    def __init__(self, problem: str) -> None:
        super().__init__(problem=problem, retry_after=self.retry_after)
        self.problem = problem


class StorageFull(StorageUnavailable):
    """The studio's disk is full. Pictures can be made again when its operator has freed space."""

    code, status = "insufficient_storage", 507
    retry_after = 60

    def __init__(self) -> None:
        super().__init__("the disk is full")
