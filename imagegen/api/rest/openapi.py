"""The parts of the OpenAPI document that types do not give: examples, errors, and authentication."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagegen.api.middleware.authenticators import SESSION_COOKIE
from imagegen.api.rest.messages import ProblemAnswer
from imagegen.schema.base import FrozenModel
from imagegen.schema.markers import ImageMode
from imagegen.schema.request import INPUT_IMAGES
from imagegen.schema.tasks import TASKS, TaskName

API_TITLE = "Image Studio"
API_DESCRIPTION = """
Generates pictures from prompts and start images. The same request through any of the studio's APIs gives the same
picture and the same receipt, which holds every setting of the picture.

There are also a WebSocket at `/v1/ws`, the endpoints for `gradio_client`, and MCP at `/gradio_api/mcp/`.
"""
SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A Hugging Face token, or a key of this studio."},
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "The token as the password, for AUTOMATIC1111's API.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": SESSION_COOKIE,
        "description": "The session of a browser.",
    },
}
STATUS_DESCRIPTIONS = {
    400: "A field is invalid. The message names it, and says what is allowed.",
    401: "The request has no valid credentials.",
    403: "The user may not do this.",
    404: "It does not exist, or it belongs to another user.",
    409: "The request conflicts with the current state.",
    410: "The link has expired.",
    413: "The request or the download is too large.",
    424: "The Hub does not provide the files.",
    429: "The user reached a limit. Retry-After gives the seconds to wait.",
    500: "The picture could not be generated.",
    501: "A Python package is not installed.",
    503: "The queue is full, the worker or the database is unavailable, or the studio stops. Retry-After gives the"
    " seconds to wait, if they are known.",
    507: "The disk of the studio is full.",
}


def build_error_responses(error_model: type[FrozenModel]) -> dict[int | str, dict[str, Any]]:
    """Returns the error responses of a door's routes, by status.

    FastAPI is slow with many models per route, so that one status names the model, and the others refer to it.
    """
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{error_model.__name__}"}}}
    responses: dict[int | str, dict[str, Any]] = {
        status: {"description": meaning, "content": content} for status, meaning in STATUS_DESCRIPTIONS.items()
    }
    return responses | {400: {"description": STATUS_DESCRIPTIONS[400], "model": error_model}}


REST_ERROR_RESPONSES = build_error_responses(ProblemAnswer)
# The smallest valid start image, so that the examples work as they are.
SAMPLE_IMAGE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAGUlEQVR4nGN0azrBQApgIkn1qIZRDUNKAwD5qgGw"
    "8POp3gAAAABJRU5ErkJggg=="
)
# A mask of the same size, all white.
SAMPLE_MASK = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAQAAAAA3iMLMAAAAD0lEQVR42mP8z8DEQAICADIBAR/gNlhXAAAAAElFTkSu"
    "QmCC"
)
SAMPLE_BY_MODE: Mapping[ImageMode, str] = {"rgb": SAMPLE_IMAGE, "rgba": SAMPLE_IMAGE, "mask": SAMPLE_MASK}


def build_sample_images(task: TaskName) -> dict[str, str]:
    """Returns the input pictures of a task, by field."""
    return {field: SAMPLE_BY_MODE[INPUT_IMAGES[field].mode] for field in TASKS[task].input_images}


REST_EXAMPLES: dict[str, dict[str, Any]] = {
    "txt2img": {"prompt": "a red circle on a blue background", "seed": 7, "steps": 20},
    "img2img": {
        "prompt": "a lake at sunset, watercolor",
        **build_sample_images("image_to_image"),
        "strength": 0.7,
        "seed": 7,
    },
    "inpaint": {"prompt": "a red boat", **build_sample_images("inpainting"), "seed": 7},
    "outpaint": build_sample_images("outpainting") | {"prompt": "a lake at sunset", "extend_ratio": "16:9", "seed": 7},
    "upscale": build_sample_images("upscale") | {"scale": 4, "upscaler": "Lanczos"},
    "jobs": {"prompt": "a sailing boat on a lake at sunset", "batch_size": 2},
}
REQUEST_EXAMPLES = {
    name: {"requestBody": {"content": {"application/json": {"example": example}}}}
    for name, example in REST_EXAMPLES.items()
}


def complete_openapi_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Adds the security schemes, and removes the responses that the studio does not send."""
    schema["components"]["securitySchemes"] = SECURITY_SCHEMES
    schema["security"] = [{name: []} for name in SECURITY_SCHEMES] + [{}]
    for path in schema["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(name, None)
    return schema
