"""What the documentation of REST says besides the types: examples, errors, and how to sign in."""

from __future__ import annotations

from typing import Any

from imagegen.api.wire import ProblemAnswer
from imagegen.schema import Message

TITLE = "Image Studio"
ABOUT = """
Pictures out of words, and out of words and pictures. The same request through any of the studio's APIs gives the same
picture, and the same receipt of all that decided it.

Beside these routes there are a WebSocket at `/v1/ws`, the endpoints for `gradio_client`, and MCP at `/gradio_api/mcp/`.
"""
SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A Hugging Face token, or a key of this studio."},
    "basic": {"type": "http", "scheme": "basic", "description": "The same as the password, for AUTOMATIC1111's API."},
    "cookie": {"type": "apiKey", "in": "cookie", "name": "studio_session", "description": "Who signed in here."},
}
MEANINGS = {
    400: "A field is wrong. The message names it, and says what is allowed.",
    401: "Nobody is signed in, or the token is not valid.",
    403: "Not for this user.",
    404: "There is none, or it is somebody else's.",
    409: "Not possible as things stand.",
    413: "Too much at once.",
    424: "The Hub does not give what was asked for.",
    429: "This user has to wait: Retry-After says how long.",
    500: "The picture could not be made.",
    501: "A package is missing here.",
    503: "The queue is full, or the worker is gone. Retry-After says how long to wait, where that is known.",
}


def problems(answer: type[Message]) -> dict[int | str, dict[str, Any]]:
    """What the routes of a door may answer instead, by status.

    FastAPI needs time for each class of each route, so that one status names the class, and the others refer to it.
    """
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{answer.__name__}"}}}
    said: dict[int | str, dict[str, Any]] = {
        status: {"description": meaning, "content": content} for status, meaning in MEANINGS.items()
    }
    return said | {400: {"description": MEANINGS[400], "model": answer}}


PROBLEMS = problems(ProblemAnswer)
# As small as a picture to start from can be, so that the examples can be tried as they are.
FEW_PIXELS = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAGUlEQVR4nGN0azrBQApgIkn1qIZRDUNKAwD5qgGw"
    "8POp3gAAAABJRU5ErkJggg=="
)
EXAMPLES: dict[str, dict[str, Any]] = {
    "txt2img": {"prompt": "a red circle on a blue background", "seed": 7, "steps": 20},
    "img2img": {"prompt": "a lake at sunset, watercolor", "init_image": FEW_PIXELS, "strength": 0.7, "seed": 7},
    "jobs": {"prompt": "a sailing boat on a lake at sunset", "batch_size": 2},
}
REQUEST_EXAMPLES = {
    name: {"requestBody": {"content": {"application/json": {"example": example}}}} for name, example in EXAMPLES.items()
}


def complete(schema: dict[str, Any]) -> dict[str, Any]:
    """Adds how to sign in, and takes out the answers that the studio does not give."""
    schema["components"]["securitySchemes"] = SECURITY
    schema["security"] = [{name: []} for name in SECURITY] + [{}]
    for path in schema["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(name, None)
    return schema
