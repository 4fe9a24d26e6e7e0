"""The error form of REST."""

from __future__ import annotations

from imagegen.api.door import ErrorBody
from imagegen.errors import ImageGenError, InvalidRequest


def format_rest_error(error: ImageGenError) -> ErrorBody:
    """Returns `{"error": {"code", "message"}}`, with the `field` that is invalid if it is one."""
    field = {"field": error.field} if isinstance(error, InvalidRequest) else {}
    return {"error": {"code": error.code, "message": str(error), **field}}
