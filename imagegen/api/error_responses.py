"""Builds the HTTP response of an error, in the form of the door that received the request."""

from __future__ import annotations

from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from imagegen.api.door import Door
from imagegen.errors import (
    ImageGenError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    SignInRequired,
    map_exception,
)
from imagegen.schema.validation import describe_validation_error

# OpenAI's clients repeat requests with these statuses, which would fail again.
FINAL_STATUSES = (409, 500)
NOT_JSON = "must be a JSON object, with the header 'Content-Type: application/json'"


def build_error_response(error: ImageGenError, door: Door) -> JSONResponse:
    return JSONResponse(door.format_error(error), error.status, build_error_headers(error, door))


def build_error_headers(error: ImageGenError, door: Door) -> dict[str, str]:
    match error:
        case SignInRequired():
            # Browsers ask for a password when they receive "Basic", so only doors without a sign-in page send it.
            scheme = "Basic" if "basic" in door.credentials else "Bearer"
            return {"WWW-Authenticate": f'{scheme} realm="studio"'}
        case MethodNotAllowed():
            return {"Allow": error.allowed}
        case ImageGenError(retry_after=int(seconds)):
            return {"Retry-After": str(seconds)}
        case _:
            return {"X-Should-Retry": "false"} if error.status in FINAL_STATUSES else {}


def map_http_exception(error: Exception) -> ImageGenError:
    """Returns the studio's error for an exception of FastAPI, Starlette or the studio itself.

    Logs any other exception and returns UnexpectedError.
    """
    match error:
        case HTTPException(__cause__=ImageGenError() as cause):
            return cause
        case RequestValidationError():
            return convert_validation_error(error)
        case HTTPException(status_code=404):
            return NotFound()
        case HTTPException(status_code=405, headers=headers):
            return MethodNotAllowed((headers or {}).get("Allow", ""))
        case HTTPException(status_code=status) if status < 500:
            return InvalidRequest("body", "must be what this route takes, in the form that its Content-Type names")
        case _:
            return map_exception(error)


def convert_validation_error(error: RequestValidationError) -> InvalidRequest:
    """Returns the first problem of a request, in the words that all doors share."""
    first: Any = error.errors()[0]
    if first["type"] == "json_invalid":
        return InvalidRequest("body", "must be valid JSON")
    location = [part for part in first["loc"] if part not in ("body", "query", "path", "header")]
    if not location:
        is_text = isinstance(first.get("input"), bytes | str)
        return InvalidRequest("body", NOT_JSON if is_text else "must be an object")
    return InvalidRequest(*describe_validation_error(first | {"loc": tuple(location)}))
