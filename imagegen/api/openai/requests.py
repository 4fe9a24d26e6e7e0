"""The requests of OpenAI's image API, and their translation into requests of the studio.

OpenAI's fields keep OpenAI's meaning, as far as they have an effect here: `quality` chooses steps (quality.py). The
studio's fields stand beside them, where OpenAI's clients send them as `extra_body`, and mean what they mean in REST.
What OpenAI's fields cannot get here, and unknown fields, are refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, StrictBool, ValidationInfo, WithJsonSchema, create_model, field_validator

from imagegen.api.openai.quality import QUALITY_NAMES, Quality
from imagegen.api.studio_fields import build_studio_field, rename_error_fields
from imagegen.errors import InvalidRequest
from imagegen.media.outputs import ImageFormat
from imagegen.schema.base import FrozenModel
from imagegen.schema.field_types import NUMBER_VALIDATOR
from imagegen.schema.request import GenerationRequest, list_task_fields
from imagegen.schema.tasks import TASKS, TaskName
from imagegen.schema.validation import parse_request

SIZE_PATTERN = re.compile("([0-9]{1,5})x([0-9]{1,5})")
# OpenAI's names for fields of the studio, and the studio's fields that OpenAI's clients cannot send.
OPENAI_NAMES = {"batch_size": "n", "width": "size", "height": "size", "init_image": "image", "mask_image": "mask"}
UNAVAILABLE_FIELDS = ("more_prompts",)
# OpenAI's fields that the studio has no choice for: the values that are accepted, and the problem with all others.
RESTRICTED_FIELDS: dict[str, tuple[tuple[str, ...], str]] = {
    "background": (("auto", "opaque"), "must be auto or opaque: pictures are not transparent"),
}


def check_range(minimum: int, maximum: int, value: int) -> int:
    if not minimum <= value <= maximum:
        raise ValueError(f"must be between {minimum} and {maximum}")
    return value


def check_size_text(text: str) -> str:
    if text != "auto" and SIZE_PATTERN.fullmatch(text) is None:
        raise ValueError("must be auto, or width and height, such as 512x512")
    return text


Percent = Annotated[
    int, NUMBER_VALIDATOR, AfterValidator(partial(check_range, 0, 100)),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 100}),
]  # fmt: skip
UpTo3 = Annotated[
    int,
    NUMBER_VALIDATOR,
    AfterValidator(partial(check_range, 0, 3)),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 3}),
]
Size = Annotated[
    str,
    AfterValidator(check_size_text),
    WithJsonSchema({"type": "string", "pattern": "^(auto|[0-9]{1,5}x[0-9]{1,5})$"}),
]


class ImageRequest(FrozenModel):
    """The fields of OpenAI's routes for pictures that have a name or a meaning of their own.

    `uploads` are the names of the files in a form, by field of the studio's request. `takes_references`: pictures may
    follow the start image.
    """

    uploads: ClassVar[Mapping[str, str]] = {}
    takes_references: ClassVar[bool] = False

    n: Any = build_studio_field("batch_size")
    size: Size | None = Field(
        None,
        description="Width and height in pixels; auto is the model's own, or the proportions of the start image.",
    )
    response_format: Literal["b64_json", "url"] | None = Field(
        None, description="A url is valid for an hour, without sign-in."
    )
    output_format: ImageFormat | None = Field(
        None, description="Each has the settings inside; PNG has the whole receipt."
    )
    output_compression: Percent | None = Field(None, description="The quality of JPEG and WebP, 100 being the best.")
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"] | None = Field(
        None, description="Chooses the steps, unless they are given; each model's are in the list of models."
    )
    background: Literal["auto", "opaque"] | None = Field(None, description="Changes nothing.")
    style: Literal["vivid", "natural"] | None = Field(None, description="Changes nothing; write it into the prompt.")
    moderation: Literal["auto", "low"] | None = Field(None, description="Changes nothing.")
    user: str | None = Field(None, description="Changes nothing.")
    safety_identifier: str | None = Field(None, description="Changes nothing.")
    stream: StrictBool | None = Field(None, description="Whether to answer with server-sent events.")
    partial_images: UpTo3 | None = Field(
        None, description="How many previews to send in a stream, at most; of several pictures, one preview of all."
    )
    num_inference_steps: Any = build_studio_field("steps", description="Another name for steps.")

    @field_validator(*RESTRICTED_FIELDS, mode="before", check_fields=False)
    @classmethod
    def check_restricted_fields(cls, value: Any, info: ValidationInfo) -> Any:
        allowed, problem = RESTRICTED_FIELDS[str(info.field_name)]
        if value is not None and value not in allowed:
            raise ValueError(problem)
        return value

    @property
    def quality_level(self) -> Quality | None:
        """None for the model's own quality."""
        return QUALITY_NAMES.get(self.quality or "auto")

    @property
    def file_format(self) -> ImageFormat:
        return self.output_format or "png"

    @property
    def file_quality(self) -> int:
        return 100 if self.output_compression is None else self.output_compression


class EditFields(ImageRequest):
    """The fields that OpenAI's route for edits has besides."""

    takes_references: ClassVar[bool] = True

    input_fidelity: Literal["low", "high"] | None = Field(None, description="Changes nothing; use strength.")


def create_openai_model(
    name: str, summary: str, base: type[ImageRequest], *tasks: TaskName, is_prompt_required: bool = True
) -> Any:
    """Returns the class of a request body: OpenAI's own fields in `base`, and the studio's for some tasks.

    The studio's fields keep their names, but for those in OPENAI_NAMES.
    """
    names = [field for task in tasks for field in list_task_fields(task)]
    names = [field for field in dict.fromkeys(names) if field not in OPENAI_NAMES and field not in UNAVAILABLE_FIELDS]
    fields: dict[str, Any] = {field: (Any, build_studio_field(field)) for field in names}
    if is_prompt_required:
        fields["prompt"] = (Any, build_studio_field("prompt", ...))
    model = create_model(name, __base__=base, __module__=__name__, __doc__=summary, **fields)
    model.uploads = {field: OPENAI_NAMES.get(field, field) for task in tasks for field in TASKS[task].input_images}
    return model


GenerationAsked = create_openai_model(
    "GenerationAsked", "A picture that is made from a prompt.", ImageRequest, "text_to_image"
)
VariationAsked = create_openai_model(
    "VariationAsked",
    "A picture that is made from another picture. Without a prompt, that of the picture's own receipt is used.",
    ImageRequest,
    "image_to_image",
    is_prompt_required=False,
)
EditAsked = create_openai_model(
    "EditAsked",
    "A picture that is made from another picture and a prompt; with a mask, only its transparent part is painted anew.",
    EditFields,
    "inpainting",
    "outpainting",
)


def convert_openai_request(body: ImageRequest, input_images: Mapping[str, str] | None = None) -> GenerationRequest:
    """Returns the request in a body, with the ids of its input pictures by field.

    Raises InvalidRequest, with OpenAI's names of the fields.
    """
    check_field_combinations(body)
    values = body.model_dump(include=set(GenerationRequest.model_fields)) | {"batch_size": body.n}
    values |= input_images or {}
    if body.num_inference_steps is not None:
        values["steps"] = body.num_inference_steps
    if (dimensions := SIZE_PATTERN.fullmatch(body.size or "")) is not None:
        values |= {"width": int(dimensions[1]), "height": int(dimensions[2])}
    with report_openai_field_names(body):
        return parse_request(values)


def check_field_combinations(body: ImageRequest) -> None:
    """Raises InvalidRequest for fields that contradict each other, or have no effect together."""
    if body.num_inference_steps is not None and body.model_dump()["steps"] is not None:
        raise InvalidRequest("num_inference_steps", "is another name for steps; send one of them")
    if body.partial_images and not body.stream:
        raise InvalidRequest("partial_images", "can only be sent in a stream")
    if body.response_format == "url" and body.stream:
        raise InvalidRequest("response_format", "must be b64_json in a stream")
    if body.file_format == "png" and body.file_quality != 100:
        raise InvalidRequest("output_compression", "must be 100 for png, which loses nothing")


def report_openai_field_names(body: ImageRequest) -> AbstractContextManager[None]:
    """Returns a context that renames the field of an InvalidRequest to the name under which it was sent."""
    return rename_error_fields(
        OPENAI_NAMES | ({"steps": "num_inference_steps"} if body.num_inference_steps is not None else {})
    )
