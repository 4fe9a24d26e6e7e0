"""Answers requests that Gradio's own routes cannot read, and for which they would fail with status 500."""

from __future__ import annotations

import logging
import re

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from imagegen.api.middleware.base import Middleware
from imagegen.api.middleware.request_body import METHODS_WITHOUT_BODY
from imagegen.errors import ImageGenError, InvalidRequest
from imagegen.text import truncate

logger = logging.getLogger(__name__)

# What Gradio's client utilities say of parameters that were sent by name, and what the studio says.
PARAMETER_PROBLEMS = {
    re.compile(r"Parameter `(.+)` is not a valid key-word argument", re.DOTALL): "is not a parameter of this endpoint",
    re.compile(r"No value provided for required argument: (.+)"): "is required",
}


class GradioErrors(Middleware):
    """Raises InvalidRequest when Gradio fails before it calls a function of the page.

    An error of a function is no such failure: Gradio reports it as JSON, or as an event of its queue.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in METHODS_WITHOUT_BODY:
            await self.app(scope, receive, send)
            return
        is_started, has_failed = False, False
        problem = InvalidRequest("body", "must be what this route takes")

        async def send_unless_failed(message: Message) -> None:
            nonlocal is_started, has_failed
            has_failed = has_failed or (message["type"] == "http.response.start" and is_failure(message))
            if not has_failed:
                is_started = True
                await send(message)

        try:
            await self.app(scope, receive, send_unless_failed)
        except ImageGenError:
            raise
        except Exception as error:
            if is_started:
                raise
            logger.warning(
                "Gradio could not read a request: %r",
                error,
                extra={"action": "bad_page_request", "path": scope["path"]},
            )
            has_failed = True
            problem = describe_parameter_error(error) or problem
        if has_failed:
            raise problem


def describe_parameter_error(error: Exception) -> InvalidRequest | None:
    """Returns the error of a parameter that Gradio does not know or misses; None for other errors."""
    for pattern, problem in PARAMETER_PROBLEMS.items():
        if isinstance(error, TypeError) and (found := pattern.match(str(error))):
            return InvalidRequest(truncate(found[1]), problem)
    return None


def is_failure(message: Message) -> bool:
    """Returns whether a response begins that Starlette sends for an exception without a handler."""
    content_type = Headers(raw=message.get("headers", [])).get("content-type", "")
    return bool(message["status"] == 500) and content_type.startswith("text/plain")
