"""Values from outside become a request, or one line that names the field and says what is allowed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from imagegen.errors import InvalidRequest, shortened
from imagegen.info import AdapterSource, ModelInfo
from imagegen.library.architectures import UNKNOWN
from imagegen.schema import LORA_LIMIT, GenerationRequest, LoraUse

# What is wrong, by the name that pydantic has for it.
SAID = {
    "missing": "is required",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "is not valid",
    "string_unicode": "is not valid",
    "literal_error": "must be one of {expected}",
    "too_long": "must have at most {max_length} entries",
    "tuple_type": "must be a list",
    "model_type": 'must be an object, such as {{"lora": "neon", "weight": 0.8}}',
    "model_attributes_type": 'must be an object, such as {{"lora": "neon", "weight": 0.8}}',
}


LIMITS = {"ge": "at least", "gt": "greater than", "le": "at most", "lt": "less than"}


def parse_request(values: Mapping[str, Any]) -> GenerationRequest:
    """A request from field names and values; None means that the field is left open. Raises InvalidRequest."""
    try:
        return GenerationRequest(**{name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        field, problem = first_problem(error.errors(include_url=False, include_input=False)[0])
        raise InvalidRequest(field, problem) from None


def first_problem(error: ErrorDetails) -> tuple[str, str]:
    """Field and problem of one pydantic error. What was sent is never repeated: it may be enormous."""
    kind, limits, nested = error["type"], error.get("ctx", {}), len(error["loc"]) > 1
    field = located(error["loc"]) if error["loc"] else "strength"
    if kind == "extra_forbidden":
        return shortened(field), f"is not a field of {'an entry' if nested else 'a request'}"
    if kind in SAID:
        return field, SAID[kind].format(**limits)
    if kind.startswith(("greater_than", "less_than")):
        return field, f"must be {allowed_range(str(error['loc'][-1]), limits)}"
    if kind == "value_error":
        return field, str(limits["error"]).removeprefix(f"{field} ")
    return field, lower_first(error["msg"].removeprefix("Input ").removeprefix("Value error, "))


def located(loc: tuple[int | str, ...]) -> str:
    """Where in a request: `width`, or `loras[0].weight`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")


def allowed_range(field: str, limits: Mapping[str, Any]) -> str:
    """Of a field of a request, or of an entry in one of its lists; of anything else, the limit that was passed."""
    schemas = LoraUse.model_json_schema()["properties"] | GenerationRequest.model_json_schema()["properties"]
    if field not in schemas:
        return next(f"{LIMITS[name]} {limit}" for name, limit in limits.items() if name in LIMITS)
    schema = schemas[field]
    limits = next((option for option in schema.get("anyOf", [schema]) if "maximum" in option), schema)
    if "exclusiveMinimum" in limits:
        return f"greater than {limits['exclusiveMinimum']:g} and at most {limits['maximum']:g}"
    return f"between {limits['minimum']} and {limits['maximum']}"


def resolved(request: GenerationRequest, model: ModelInfo, seed: int) -> GenerationRequest:
    """The request with everything that it left open filled in. Raises InvalidRequest for what the model cannot do."""
    for field, problem in problems(request, model):
        raise InvalidRequest(field, f"{problem} with the model {model.id}")
    open_fields = {
        "model": model.id,
        "width": model.width,
        "height": model.height,
        "steps": model.steps,
        "guidance_scale": model.guidance_scale,
        "sampler": model.sampler,
        "seed": seed,
    }
    if request.init_image is not None and model.can.strength:
        open_fields["strength"] = model.strength
    missing = {name: value for name, value in open_fields.items() if getattr(request, name) is None}
    return request.model_copy(update=missing | {"model": model.id})


def problems(request: GenerationRequest, model: ModelInfo) -> Iterator[tuple[str, str]]:
    """Each field that asks for what the model cannot do, and what is allowed."""
    can = model.can
    for side in ("width", "height"):
        value = getattr(request, side)
        if value is not None and value > can.max_side:
            yield side, f"must be at most {can.max_side}"
        elif value is not None and value % can.multiple:
            yield side, f"must be a multiple of {can.multiple}, such as {max(64, value - value % can.multiple)},"
    if request.sampler is not None and request.sampler not in can.samplers:
        yield "sampler", f"must be one of {', '.join(can.samplers)}"
    if request.guidance_scale not in (None, 1) and can.guidance == "none":
        yield "guidance_scale", "must be 1 or left open: there is no guidance"
    refused = {
        "negative_prompt": request.negative_prompt and not can.negative_prompt,
        "clip_skip": request.clip_skip and not can.clip_skip,
        "step_cache": request.step_cache and not can.step_cache,
        "init_image": request.init_image and not can.image_to_image,
        "strength": request.strength and not can.strength,
        "loras": request.loras and not can.loras,
        "embeddings": request.embeddings and not can.embeddings,
    }
    yield from ((field, "cannot be used") for field, is_refused in refused.items() if is_refused)


def with_adapters(request: GenerationRequest, model: ModelInfo, adapters: Sequence[AdapterSource]) -> GenerationRequest:
    """The request with the adapters' own names. Raises InvalidRequest for one that is there twice, or does not fit."""
    names = [(adapter.kind, adapter.id) for adapter in adapters]
    for adapter in adapters:
        field = "loras" if adapter.kind == "lora" else "embeddings"
        if names.count((adapter.kind, adapter.id)) > 1:
            raise InvalidRequest(field, f"{shortened(adapter.id)} is there twice")
        check_fit(field, adapter, model)
    loras = tuple(LoraUse(lora=each.id, weight=each.weight) for each in adapters if each.kind == "lora")
    if len(loras) > LORA_LIMIT:
        own = f"the model {model.id}, which wears {len(model.loras)} itself"
        raise InvalidRequest("loras", f"must have at most {LORA_LIMIT - len(model.loras)} entries with {own}")
    embeddings = tuple(each.id for each in adapters if each.kind == "embedding")
    return request.model_copy(update={"loras": loras, "embeddings": embeddings})


def check_fit(field: str, adapter: AdapterSource, model: ModelInfo) -> None:
    """Raises InvalidRequest for an adapter that was made for another architecture."""
    if adapter.architecture not in (model.architecture, UNKNOWN):
        problem = f"{shortened(adapter.id)} was made for {adapter.architecture}"
        raise InvalidRequest(field, f"{problem}, and the model {model.id} is {model.architecture}")


def lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
