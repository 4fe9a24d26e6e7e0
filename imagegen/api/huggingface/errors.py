"""The error form of the Inference API."""

from __future__ import annotations

from imagegen.api.door import ErrorBody
from imagegen.errors import ImageGenError
from imagegen.schema.base import FrozenModel


class InferenceProblem(FrozenModel):
    """`error` is for people. `code` is an addition of the studio, for programs."""

    error: str
    code: str


def format_inference_error(error: ImageGenError) -> ErrorBody:
    return InferenceProblem(error=str(error), code=error.code).model_dump()
