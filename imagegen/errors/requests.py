"""Errors of requests: a field is invalid, or what they name does not exist."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from imagegen.errors.base import ImageGenError
from imagegen.text import truncate


class InvalidRequest(ImageGenError):
    """{field}: {problem}"""

    code, status = "invalid_request", 400

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field=field, problem=problem)
        self.field, self.problem = field, problem


class IdempotencyKeyReused(ImageGenError):
    """This Idempotency-Key was already used for a different request. Please send a new key."""

    code, status = "key_reused", 409


class NotFound(ImageGenError):
    """This resource does not exist."""

    code, status = "not_found", 404


class UnknownJob(NotFound):
    """There is no job {job_id}."""

    code = "unknown_job"

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id=truncate(job_id))


class UnknownPicture(NotFound):
    """There is no picture {picture_id}."""

    code = "unknown_picture"

    def __init__(self, picture_id: str) -> None:
        super().__init__(picture_id=truncate(picture_id))


class UnknownUser(NotFound):
    """The studio has no data of a user {user_id}."""

    code = "unknown_user"

    def __init__(self, user_id: str) -> None:
        super().__init__(user_id=truncate(user_id))


class UnknownRoute(NotFound):
    """This route does not exist."""


class NoPromptInPicture(NotFound):
    """This picture does not contain the prompt that it was made from, and the studio cannot describe a picture."""

    code = "no_prompt"


class MethodNotAllowed(ImageGenError):
    """This route does not support this HTTP method. The Allow header lists the methods that it supports."""

    code, status = "method_not_allowed", 405

    def __init__(self, allowed: str) -> None:
        super().__init__()
        self.allowed = allowed


class UnsupportedOperation(ImageGenError):
    """This studio does not support {what}."""

    code, status = "unsupported", 400

    def __init__(self, what: str) -> None:
        super().__init__(what=what)


@contextmanager
def attribute_errors_to(field: str) -> Iterator[None]:
    """Replaces the field of an InvalidRequest that is raised inside by `field`."""
    try:
        yield
    except InvalidRequest as error:
        ImageGenError.__init__(error, field=field, problem=error.problem)
        error.field = field
        raise
