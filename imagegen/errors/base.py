"""The base of all errors, and the error for everything that is not expected."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

logger = logging.getLogger(__name__)

SERVER_ERROR_STATUS = 500


class ImageGenError(Exception):
    """Base of all errors of the studio; it has no code and no status itself, and is not raised."""

    code: ClassVar[str]
    status: ClassVar[int]
    # After how many seconds the same request may succeed; None if that is not known.
    retry_after: int | None = None
    _status_by_code: ClassVar[dict[str, int]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        """Registers the status of the class under its code.

        Raises TypeError when the class neither defines nor inherits both, or gives a known code another status.
        """
        super().__init_subclass__(**options)
        if not hasattr(cls, "code") or not hasattr(cls, "status"):
            raise TypeError(f"{cls.__name__} needs a code and an HTTP status")
        if cls._status_by_code.setdefault(cls.code, cls.status) != cls.status:
            raise TypeError(f"{cls.__name__} gives the code {cls.code!r} a second HTTP status")

    def __init__(self, **data: object) -> None:
        self.data = data
        template = " ".join((type(self).__doc__ or "").split())
        super().__init__(template.format(**data))

    @classmethod
    def get_status(cls, code: str) -> int:
        """The HTTP status of the error classes with this code; 500 for an unknown code."""
        return cls._status_by_code.get(code, SERVER_ERROR_STATUS)


class UnexpectedError(ImageGenError):
    """An unexpected error occurred. The studio's log has the details."""

    code, status = "error", SERVER_ERROR_STATUS


def map_exception(error: Exception) -> ImageGenError:
    """Returns the error itself if it is one of the studio's.

    Logs any other with its traceback and returns UnexpectedError, so that no client sees its details.
    """
    if isinstance(error, ImageGenError):
        return error
    logger.error("Unexpected error", exc_info=error, extra={"action": "unexpected_error"})
    return UnexpectedError()
