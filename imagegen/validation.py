"""Values from outside become a request, or one line that names the field and says what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from imagegen.errors import InvalidRequest
from imagegen.schema import GenerationRequest, ModelInfo


def parse_request(values: Mapping[str, Any]) -> GenerationRequest:
    """A request from field names and values; None means that the field is left open. Raises InvalidRequest."""
    try:
        return GenerationRequest(**{name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        field, problem = first_problem(error.errors(include_url=False, include_input=False)[0])
        raise InvalidRequest(field, problem) from None


def first_problem(error: ErrorDetails) -> tuple[str, str]:
    """Field and problem of one pydantic error. What was sent is never repeated: it may be enormous."""
    field = str(error["loc"][0]) if error["loc"] else "strength"
    limits = error.get("ctx", {})
    match error["type"]:
        case "missing":
            return field, "is required"
        case "extra_forbidden":
            return shortened(field), "is not a field of a request"
        case "string_too_long":
            return field, f"must have at most {limits['max_length']} characters"
        case "string_too_short":
            return field, "must not be empty"
        case "string_pattern_mismatch" | "string_unicode":
            return field, "is not valid"
        case "literal_error":
            return field, f"must be one of {limits['expected']}"
        case "greater_than_equal" | "less_than_equal" | "greater_than" | "less_than":
            return field, f"must be {allowed_range(field)}"
        case "value_error":
            return field, str(limits["error"]).removeprefix(f"{field} ")
        case _:
            return field, lower_first(error["msg"].removeprefix("Input ").removeprefix("Value error, "))


def allowed_range(field: str) -> str:
    schema = GenerationRequest.model_json_schema()["properties"][field]
    limits = next((option for option in schema.get("anyOf", [schema]) if "maximum" in option), schema)
    if "exclusiveMinimum" in limits:
        return f"greater than {limits['exclusiveMinimum']:g} and at most {limits['maximum']:g}"
    return f"between {limits['minimum']} and {limits['maximum']}"


def resolved(request: GenerationRequest, model: ModelInfo, seed: int) -> GenerationRequest:
    """The request with everything that it left open filled in. Raises InvalidRequest for what the model cannot do."""
    for side in ("width", "height"):
        value = getattr(request, side)
        if value is not None and value > model.max_side:
            raise InvalidRequest(side, f"must be at most {model.max_side} with the model {model.id}")
    open_fields = {
        "width": model.width,
        "height": model.height,
        "steps": model.steps,
        "guidance_scale": model.guidance_scale,
        "sampler": model.sampler,
        "seed": seed,
    }
    if request.init_image is not None:
        open_fields["strength"] = model.strength
    return request.model_copy(
        update={name: value for name, value in open_fields.items() if getattr(request, name) is None}
    )


def shortened(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
