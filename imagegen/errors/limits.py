"""Errors of requests that exceed a limit."""

from __future__ import annotations

from imagegen.errors.base import ImageGenError
from imagegen.text import format_bytes


class QueueFull(ImageGenError):
    """The queue is full: {waiting} jobs are waiting. Please try again in {retry_after} seconds."""

    code, status = "queue_full", 503
    retry_after: int

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(waiting=waiting, retry_after=retry_after)
        self.retry_after = retry_after


class StudioStopping(ImageGenError):
    """The studio is about to stop. Please try again in {retry_after} seconds."""

    code, status = "stopping", 503
    retry_after = 10

    def __init__(self) -> None:
        super().__init__(retry_after=self.retry_after)


class RateLimited(ImageGenError):
    """Too many connections are open. Please try again in {retry_after} seconds."""

    code, status = "too_much", 429
    retry_after: int

    def __init__(self, retry_after: int, **data: object) -> None:
        super().__init__(retry_after=retry_after, **data)
        self.retry_after = retry_after


class TooManyJobs(RateLimited):
    """You have {waiting} waiting jobs; the limit is {most}. Please try again in {retry_after} seconds."""

    code = "too_many_jobs"


class TooManyRequests(RateLimited):
    """You sent more than {most} requests in a minute. Please try again in {retry_after} seconds."""

    code = "too_many_requests"


class TooManyBytes(RateLimited):
    """You sent more than {size} in a minute. Please try again in {retry_after} seconds."""

    code = "too_many_bytes"

    def __init__(self, most: int, retry_after: int) -> None:
        super().__init__(retry_after, size=format_bytes(most))


class PayloadTooLarge(ImageGenError):
    """The request is too large. The limit is {most}."""

    code, status = "too_large", 413

    def __init__(self, max_bytes: int) -> None:
        super().__init__(most=format_bytes(max_bytes))


class RequestTimeout(ImageGenError):
    """The request did not arrive in time. Please send it again."""

    code, status = "request_timeout", 408
