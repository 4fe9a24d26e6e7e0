"""What an error is on the wire: one status for each code, and one form for each door."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from imagegen.errors import ImageGenError, InvalidRequest, NotFound, SignInRequired
from imagegen.validation import first_problem

logger = logging.getLogger(__name__)

Body = dict[str, Any]

# What is not here is our own fault.
STATUS = {
    "invalid_request": 400,
    "unusable_model": 400,
    "unsupported": 400,
    "wrong_host": 400,
    "sign_in_required": 401,
    "bad_credentials": 401,
    "cross_site": 403,
    "not_admitted": 403,
    "not_allowed": 403,
    "unknown_model": 404,
    "not_found": 404,
    "unknown_job": 404,
    "unknown_picture": 404,
    "method_not_allowed": 405,
    "not_on_disk": 409,
    "key_reused": 409,
    "stopped": 409,
    "cancelled": 409,
    "too_large": 413,
    "no_room": 413,
    "hub_refused": 424,
    "too_many_jobs": 429,
    "too_many_requests": 429,
    "package_missing": 501,
    "queue_full": 503,
    "worker_unavailable": 503,
    "worker_lost": 503,
    "interrupted": 503,
    "sign_in_unavailable": 503,
}
OF_REST = ("/v1/models/list", "/v1/models/load", "/v1/models/unload")
OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class MethodNotAllowed(ImageGenError):
    """This route does not take this method."""

    code = "method_not_allowed"

    def __init__(self, allowed: str) -> None:
        super().__init__()
        self.allowed = allowed


class NotSignedIn(Exception):
    """The provider sent somebody back without a name; with what to tell him."""


def rest(error: ImageGenError) -> Body:
    """`{"error": {"code", "message"}}`, with the `field` that is wrong, where it is one."""
    field = {"field": error.field} if isinstance(error, InvalidRequest) else {}
    return {"error": {"code": error.code, "message": str(error), **field}}


def openai(error: ImageGenError) -> Body:
    """As OpenAI's own API tells errors; its clients make exceptions of it."""
    status = status_of(error)
    kind = OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    field = error.field if isinstance(error, InvalidRequest) else None
    return {"error": {"message": str(error), "type": kind, "param": field, "code": error.code}}


def a1111(error: ImageGenError) -> Body:
    """As AUTOMATIC1111's web UI tells exceptions."""
    return {"error": error.code, "detail": str(error), "body": "", "errors": str(error)}


def gradio(error: ImageGenError) -> Body:
    """Gradio's clients show `detail`."""
    return {"detail": str(error), "code": error.code}


def form(path: str) -> Callable[[ImageGenError], Body]:
    """That of the door which a path belongs to."""
    if path.startswith(("/v1/images/generations", "/v1/images/edits", "/v1/images/variations")):
        return openai
    if path.startswith("/v1/models") and path not in OF_REST:
        return openai
    if path.startswith("/sdapi/"):
        return a1111
    return rest if path.startswith("/v1/") else gradio


def status_of(error: ImageGenError) -> int:
    return STATUS.get(error.code, 500)


def response(error: ImageGenError, path: str) -> JSONResponse:
    headers = {}
    if isinstance(error, SignInRequired):
        # A browser asks for a password by itself only where there is no page to sign in.
        scheme = "Basic" if path.startswith("/sdapi/") else "Bearer"
        headers["WWW-Authenticate"] = f'{scheme} realm="studio"'
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = error.allowed
    if (seconds := getattr(error, "retry_after", None)) is not None:
        headers["Retry-After"] = str(seconds)
    elif status_of(error) in (409, 500):
        # OpenAI's clients would send it again by themselves, and it would go wrong again.
        headers["X-Should-Retry"] = "false"
    return JSONResponse(form(path)(error), status_of(error), headers)


def known(error: Exception) -> ImageGenError:
    """The same error, or one of ours that says as much of it as others may know; the log gets the rest."""
    match error:
        case ImageGenError():
            return error
        case HTTPException(__cause__=ImageGenError() as cause):
            return cause
        case RequestValidationError():
            return invalid(error)
        case HTTPException(status_code=404):
            return NotFound()
        case HTTPException(status_code=405, headers=headers):
            return MethodNotAllowed((headers or {}).get("Allow", ""))
        case HTTPException(status_code=status) if status < 500:
            return InvalidRequest("body", "must be what this route takes, in the form that its Content-Type names")
        case _:
            logger.error("Unexpected error", exc_info=error, extra={"action": "unexpected_error"})
            return Unexpected()


class Unexpected(ImageGenError):
    """Something went wrong in the studio. Its log says what."""


def invalid(error: RequestValidationError) -> ImageGenError:
    """The first thing that is wrong, in the words that every door has for it."""
    first: Any = error.errors()[0]
    if first["type"] == "json_invalid":
        return InvalidRequest("body", "must be valid JSON")
    place = [part for part in first["loc"] if part not in ("body", "query", "path", "header")]
    if not place:
        return InvalidRequest("body", "must be an object")
    return InvalidRequest(*first_problem(first | {"loc": tuple(place)}))
