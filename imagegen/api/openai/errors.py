"""The error form of OpenAI's API."""

from __future__ import annotations

from imagegen.api.door import ErrorBody
from imagegen.errors import ImageGenError, InvalidRequest

ERROR_TYPE_BY_STATUS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def format_openai_error(error: ImageGenError) -> ErrorBody:
    """Returns an error in the form that OpenAI's clients turn into exceptions."""
    default_type = "server_error" if error.status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": str(error),
            "type": ERROR_TYPE_BY_STATUS.get(error.status, default_type),
            "param": error.field if isinstance(error, InvalidRequest) else None,
            "code": error.code,
        }
    }
