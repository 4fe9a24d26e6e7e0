"""The bodies of the Inference API, and their conversion to requests of the studio.

Text to image has the prompt as `inputs`, image to image a picture in base64. A picture may also be the whole body,
which then has no parameters. Parameters have the names of the Inference API, and those that it does not have the
studio's. Unknown ones are refused by name, as a diffusers pipeline refuses them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeVar

from PIL import Image
from pydantic import Field, ValidationError, create_model, field_validator

from imagegen.api.huggingface.schedulers import SAMPLER_BY_SCHEDULER
from imagegen.api.studio_fields import build_studio_field, rename_error_fields
from imagegen.errors import InvalidRequest
from imagegen.media.base64_images import decode_base64_image
from imagegen.media.inputs import DECODE_ERRORS, INPUT_FORMATS, TOO_MANY_PIXELS_ERRORS
from imagegen.schema.base import FrozenModel
from imagegen.schema.request import GenerationRequest, list_task_fields
from imagegen.schema.tasks import TASKS
from imagegen.schema.validation import describe_validation_error, parse_request

(IMAGE_FIELD,) = TASKS["image_to_image"].input_images
# The Inference API's names for fields of the studio, and the studio's fields that are no parameters: `inputs` is the
# picture, the address names the model, and a response is one picture.
PARAMETER_NAMES = {"steps": "num_inference_steps", "sampler": "scheduler"}
UNAVAILABLE_FIELDS = (IMAGE_FIELD, "model", "batch_size", "more_prompts")

AnyBody = TypeVar("AnyBody", bound=FrozenModel)


class TargetSize(FrozenModel):
    width: Any = build_studio_field("width", ...)
    height: Any = build_studio_field("height", ...)


class InferenceParameters(FrozenModel):
    """The parameters with a meaning of their own."""

    prompt: Any = build_studio_field("prompt", description="The prompt, when `inputs` is a picture.")
    target_size: TargetSize | None = Field(None, description="Another way to send width and height.")

    @field_validator("target_size", mode="before")
    @classmethod
    def check_target_size(cls, value: Any) -> Any:
        if value is not None and not isinstance(value, dict):
            raise ValueError("must be an object with width and height")
        return value


def create_parameters_model() -> Any:
    of_tasks = dict.fromkeys((*list_task_fields("image_to_image"), *list_task_fields("outpainting")))
    fields = [name for name in of_tasks if name not in UNAVAILABLE_FIELDS]
    definitions: dict[str, Any] = {
        PARAMETER_NAMES.get(name, name): (Any, build_studio_field(name)) for name in fields if name != "prompt"
    }
    return create_model("Parameters", __base__=InferenceParameters, __module__=__name__, **definitions)


Parameters = create_parameters_model()


class InferenceBody(FrozenModel):
    """Parameters are checked on their own, so that errors name them without a prefix."""

    inputs: str = Field(description="The prompt, or a picture in base64.")
    parameters: dict[str, Any] | None = None
    options: dict[str, Any] | None = Field(None, description="Changes nothing.")


@dataclass(frozen=True)
class InferenceInputs:
    """`picture` is the file of image to image, which needs no prompt; it is None for text to image."""

    prompt: Any
    picture: bytes | None
    parameters: InferenceParameters


def parse_inference_body(content: bytes) -> InferenceInputs:
    """Returns what is in a body: an object in JSON, whatever its Content-Type says, or a picture.

    Raises InvalidRequest.
    """
    if not content.lstrip().startswith(b"{"):
        if not content:
            raise InvalidRequest("inputs", "is required")
        return InferenceInputs(None, content, Parameters())
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        raise InvalidRequest("body", "must be valid JSON, or a picture") from None
    body = validate_fields(InferenceBody, fields)
    parameters = validate_fields(Parameters, body.parameters or {})
    picture = decode_picture(body.inputs)
    if picture is not None:
        return InferenceInputs(parameters.prompt, picture, parameters)
    if parameters.prompt is not None:
        raise InvalidRequest("inputs", "must be a picture in base64 if there is a prompt among the parameters")
    return InferenceInputs(body.inputs, None, parameters)


def validate_fields(model: type[AnyBody], fields: Mapping[str, Any]) -> AnyBody:
    """Raises InvalidRequest."""
    try:
        return model(**fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidRequest(*describe_validation_error(first)) from None


def decode_picture(text: str) -> bytes | None:
    """Returns the file if the text is a picture in base64, None for any other text, such as a prompt."""
    try:
        content = decode_base64_image(text, "inputs")
        with Image.open(BytesIO(content), formats=INPUT_FORMATS):
            return content
    except (InvalidRequest, *DECODE_ERRORS):
        return None
    except TOO_MANY_PIXELS_ERRORS:
        return content


def convert_inference_request(
    inputs: InferenceInputs, prompt: Any, model: str | None, image_id: str | None, lists: Mapping[str, Any]
) -> GenerationRequest:
    """Returns the request. `image_id` is that of the stored picture, if there is one.

    `lists` are the request's lists whose entries hold pictures, with the ids of stored ones. Raises InvalidRequest.
    """
    parameters = {**inputs.parameters.model_dump(), **lists}
    size: dict[str, Any] = parameters.pop("target_size") or {}
    if size and (parameters["width"], parameters["height"]) != (None, None):
        raise InvalidRequest("target_size", "is another way to send width and height; send one of them")
    values = parameters | size | {"prompt": prompt, "model": model, IMAGE_FIELD: image_id}
    for field, name in PARAMETER_NAMES.items():
        values[field] = values.pop(name)
    if isinstance(values["sampler"], str):
        values["sampler"] = SAMPLER_BY_SCHEDULER.get(values["sampler"], values["sampler"])
    with report_inference_names(inputs):
        return parse_request(values)


def report_inference_names(inputs: InferenceInputs) -> AbstractContextManager[None]:
    """Returns a context that renames the field of an InvalidRequest to the Inference API's name."""
    names = PARAMETER_NAMES | {IMAGE_FIELD: "inputs"}
    if inputs.picture is None:
        names["prompt"] = "inputs"
    if inputs.parameters.target_size is not None:
        names |= {"width": "target_size", "height": "target_size"}
    return rename_error_fields(names)


def build_body_schema() -> dict[str, Any]:
    """Returns the JSON schema of a body, for the documentation."""
    schema, parameters = InferenceBody.model_json_schema(), Parameters.model_json_schema()
    target_size = parameters.pop("$defs")["TargetSize"]
    parameters["properties"]["target_size"] |= {"anyOf": [target_size, {"type": "null"}]}
    schema["properties"]["parameters"] = {"anyOf": [parameters, {"type": "null"}]}
    return schema
