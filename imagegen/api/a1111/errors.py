"""The error form of AUTOMATIC1111's web UI."""

from __future__ import annotations

from imagegen.api.door import ErrorBody
from imagegen.errors import ImageGenError


def format_a1111_error(error: ImageGenError) -> ErrorBody:
    return {"error": error.code, "detail": str(error), "body": "", "errors": str(error)}
