"""Parses requests, and checks them against a model. Each error is one line: the field, and what is allowed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from imagegen.errors import InvalidRequest
from imagegen.schema.field_types import LATENT_UPSCALER
from imagegen.schema.input_images import get_entry_type
from imagegen.schema.markers import Needs
from imagegen.schema.models import MODEL_DEFAULT_FIELDS, Capabilities, ModelInfo
from imagegen.schema.request import INPUT_IMAGES, NEEDS, REQUIRES, GenerationRequest
from imagegen.schema.sizes import Size, scale_hires_size
from imagegen.schema.tasks import TASKS, TaskName
from imagegen.text import truncate

Message = TypeVar("Message", bound=BaseModel)

# Problems by pydantic's error type.
PROBLEM_TEMPLATES = {
    "missing": "is required",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "is not valid",
    "string_unicode": "is not valid",
    "literal_error": "must be one of {expected}",
    "too_long": "must have at most {max_length} entries",
    "tuple_type": "must be a list",
    "model_type": "must be an object, such as {example}",
    "model_attributes_type": "must be an object, such as {example}",
}
# The fields of a request with prompts.
PROMPT_FIELDS = ("prompt", "negative_prompt", "more_prompts", "detail_prompt")
# In AUTOMATIC1111's web UI it combines two prompts.
COMBINATION_PATTERN = re.compile(r"\bAND\b")

LIMIT_PHRASES = {"ge": "at least", "gt": "greater than", "le": "at most", "lt": "less than"}


def parse_request(values: Mapping[str, Any], task: TaskName | None = None) -> GenerationRequest:
    """Returns a request from values by field name; None leaves a field open. Raises InvalidRequest.

    With `task`, the request must have a field that only this task has, if there are any.
    """
    request = parse_model(GenerationRequest, {name: value for name, value in values.items() if value is not None})
    if task is not None and TASKS[task].fields and request.task != task:
        first, *others = TASKS[task].fields
        raise InvalidRequest(first, f"or one of {', '.join(others)} is required")
    return request


def parse_model(model: type[Message], values: Mapping[str, Any]) -> Message:
    """Returns a message from values by field name that a client sent. Raises InvalidRequest."""
    try:
        return model(**values)
    except ValidationError as error:
        field, problem = describe_validation_error(error.errors(include_url=False, include_input=False)[0])
        raise InvalidRequest(field, problem) from None


def describe_validation_error(error: ErrorDetails) -> tuple[str, str]:
    """Returns the field and the problem of one pydantic error, without the value, which can be of any size."""
    error_type, context, is_nested = error["type"], error.get("ctx", {}), len(error["loc"]) > 1
    # An error about several fields has no location; it names the field in its context.
    field = format_location(error["loc"]) if error["loc"] else str(context["field"])
    if error_type == "extra_forbidden":
        return truncate(field), f"is not a field of {'an entry' if is_nested else 'a request'}"
    if error_type in PROBLEM_TEMPLATES:
        return field, PROBLEM_TEMPLATES[error_type].format(**context, example=build_entry_example(error["loc"]))
    if error_type.startswith(("greater_than", "less_than")):
        return field, f"must be {describe_range(error['loc'], context)}"
    if error_type == "value_error":
        return field, str(context["error"]).removeprefix(f"{field} ")
    return field, lowercase_first(error["msg"].removeprefix("Input ").removeprefix("Value error, "))


def format_location(loc: tuple[int | str, ...]) -> str:
    """Returns a place in a request as text, such as `width` or `loras[0].weight`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


def find_entry_type(loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Returns the class of the entries in the list of a request that a place is in, None for other places."""
    field = str(loc[0]) if loc else ""
    return get_entry_type(field) if len(loc) > 1 and field in GenerationRequest.model_fields else None


def build_entry_example(loc: tuple[int | str, ...]) -> str:
    """Returns an example of an entry in the list that a place is in, as JSON; "" for other places."""
    entry = find_entry_type(loc)
    return json.dumps(entry.model_json_schema()["example"], ensure_ascii=False) if entry is not None else ""


def describe_range(loc: tuple[int | str, ...], limits: Mapping[str, Any]) -> str:
    """Returns the range of a field of a request or of an entry in a list; for other fields, the limit in `limits`."""
    schemas = (find_entry_type(loc) or GenerationRequest).model_json_schema()["properties"]
    field = str(loc[-1])
    if field not in schemas:
        return next(f"{LIMIT_PHRASES[name]} {limit}" for name, limit in limits.items() if name in LIMIT_PHRASES)
    schema = schemas[field]
    limits = next((option for option in schema.get("anyOf", [schema]) if "maximum" in option), schema)
    if "exclusiveMinimum" in limits:
        return f"greater than {limits['exclusiveMinimum']:g} and at most {limits['maximum']:g}"
    return f"between {limits['minimum']} and {limits['maximum']}"


def fill_in_defaults(
    request: GenerationRequest, model: ModelInfo, seed: int, variation_seed: int = 0
) -> GenerationRequest:
    """Returns the request with all open fields filled in, and without a variation seed that has no effect.

    `seed` and `variation_seed` are for a request that leaves them open. Raises InvalidRequest for what the model cannot
    do.
    """
    for field, problem in find_capability_problems(request, model):
        raise InvalidRequest(field, f"{problem} with the model {model.id}")
    strength = TASKS[request.task].strength
    own_defaults = {} if strength is None else {"strength": max(strength, model.strength)}
    defaults = {"seed": seed} | {
        name: own_defaults.get(name, getattr(model, name))
        for name in MODEL_DEFAULT_FIELDS
        if name not in REQUIRES or (request.is_set(REQUIRES[name].field) and supports_field(model, name))
    }
    if request.variation_strength:
        defaults["variation_seed"] = variation_seed
    if request.has_hires and model.can.latent_upscaling:
        defaults["hires_upscaler"] = LATENT_UPSCALER
    missing = {name: value for name, value in defaults.items() if getattr(request, name) is None}
    unused = {} if request.variation_strength else {"variation_seed": None}
    return request.model_copy(update=missing | unused | {"model": model.id})


def find_capability_problems(request: GenerationRequest, model: ModelInfo) -> Iterator[tuple[str, str]]:
    """Yields each field that asks for what the model cannot do, and the problem with it."""
    capabilities = model.can
    for side in ("width", "height"):
        value = getattr(request, side)
        if value is not None and value > capabilities.max_side:
            yield side, f"must be at most {capabilities.max_side}"
        elif value is not None and value % capabilities.multiple:
            nearest = max(64, value - value % capabilities.multiple)
            yield side, f"must be a multiple of {capabilities.multiple}, such as {nearest},"
    if request.sampler is not None and request.sampler not in capabilities.samplers:
        yield "sampler", f"must be one of {', '.join(capabilities.samplers)}"
    if not TASKS[request.task].fields and not capabilities.supports(TASKS[request.task].capability):
        yield describe_missing_task(request.task, capabilities)
    for field in PROMPT_FIELDS if capabilities.weighted_prompt else ():
        if any(COMBINATION_PATTERN.search(text) for text in list_texts(getattr(request, field))):
            yield field, "must not contain AND in capitals, because prompts cannot be combined"
    yield from find_hires_problems(request, model)
    yield from find_reference_problems(request, model.can)
    for field, needs in NEEDS.items():
        if (
            field not in INPUT_IMAGES
            and not supports_field(model, field)
            and request.is_set(field)
            and getattr(request, field) != needs.neutral
        ):
            yield field, describe_missing_capability(needs)


def list_texts(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def find_hires_problems(request: GenerationRequest, model: ModelInfo) -> Iterator[tuple[str, str]]:
    """Yields what the model cannot do in a second pass, as field and problem."""
    limit = model.can.max_hires_side
    for side, value in zip(("width", "height"), find_hires_size(request, model), strict=True):
        if value > limit:
            yield "hires_scale", f"gives a {side} of {value} pixels; at most {limit} are possible"
    if request.has_hires and request.hires_upscaler == LATENT_UPSCALER and not model.can.latent_upscaling:
        yield "hires_upscaler", f"must be the name of an upscaler instead of {LATENT_UPSCALER}"


def find_reference_problems(request: GenerationRequest, capabilities: Capabilities) -> Iterator[tuple[str, str]]:
    """Yields what reference pictures lack, or have too much, for a model that can look at some."""
    for number, use in enumerate(request.references if capabilities.references else ()):
        if capabilities.ip_adapters and use.ip_adapter is None:
            yield f"references[{number}].ip_adapter", "is required"
        if not capabilities.ip_adapters and use.ip_adapter is not None:
            yield f"references[{number}].ip_adapter", "must be left open"
        if not capabilities.ip_adapters and use.weight != 1:
            yield f"references[{number}].weight", "must be 1 or left open"


def describe_missing_task(name: TaskName, capabilities: Capabilities) -> tuple[str, str]:
    """Returns the field, and the problem, of a request for a task that the model cannot do."""
    own = TASKS[name].input_images
    for task in TASKS.values():
        if task.paints and capabilities.supports(task.capability) and set(task.input_images) > set(own):
            return next(field for field in task.input_images if field not in own), "is required"
    return own[-1], "cannot be used"


def find_hires_size(request: GenerationRequest, model: ModelInfo) -> Size:
    """Returns the size of the second pass, (0, 0) for a request without one."""
    size = request.width or model.width, request.height or model.height
    return scale_hires_size(size, request.hires_scale) if request.has_hires else (0, 0)


def supports_field(model: ModelInfo, field: str) -> bool:
    """Returns whether the model has the capability that a field of the request needs."""
    return field not in NEEDS or model.can.supports(NEEDS[field].capability)


def describe_missing_capability(needs: Needs) -> str:
    if needs.neutral is None:
        return "cannot be used"
    return f"must be {needs.neutral} or left open: there is no {needs.capability.replace('_', ' ')}"


def lowercase_first(text: str) -> str:
    return text[:1].lower() + text[1:]
