"""The error form of Gradio."""

from __future__ import annotations

from imagegen.api.door import ErrorBody
from imagegen.errors import ImageGenError


def format_gradio_error(error: ImageGenError) -> ErrorBody:
    """Returns the body of an error response; Gradio's clients show its `detail`."""
    return {"detail": str(error), "code": error.code}
