"""Parses requests, and checks them against a model. Each error is one line: the field, and what is allowed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from imagegen.errors import InvalidRequest
from imagegen.schema.controls import TYPE_BY_PREPROCESSOR, ControlType, ControlUse
from imagegen.schema.embedding_words import find_used_embeddings
from imagegen.schema.field_types import LATENT_UPSCALER, MAX_LORAS
from imagegen.schema.input_images import get_entry_type
from imagegen.schema.markers import Needs
from imagegen.schema.models import MODEL_DEFAULT_FIELDS, UNKNOWN_ARCHITECTURE, AdapterSource, Capabilities, ModelInfo
from imagegen.schema.request import INPUT_IMAGES, NEEDS, REQUIRES, GenerationRequest, LoraUse
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


def set_adapter_fields(
    request: GenerationRequest, model: ModelInfo, adapters: Sequence[AdapterSource]
) -> GenerationRequest:
    """Returns the request with the adapters' own names. `adapters` of one kind are in the order of the request.

    Raises InvalidRequest for a LoRA or an embedding that is there twice, for an adapter that does not fit, and for more
    LoRAs than MAX_LORAS.
    """
    controlnets = [adapter for adapter in adapters if adapter.kind == "controlnet"]
    for number, (use, controlnet) in enumerate(zip(request.controls, controlnets, strict=True)):
        check_architecture(f"controls[{number}].controlnet", controlnet, model)
        check_control_mode(f"controls[{number}].mode", use, controlnet)
    ip_adapters = [adapter for adapter in adapters if adapter.kind == "ip_adapter"]
    for number, ip_adapter in enumerate(ip_adapters):
        check_architecture(f"references[{number}].ip_adapter", ip_adapter, model)
    vae = next((adapter for adapter in adapters if adapter.kind == "vae"), None)
    if vae is not None:
        check_latents(vae, model)
    detector = next((adapter for adapter in adapters if adapter.kind == "detector"), None)
    if detector is not None:
        check_label(request.detail_label, detector)
    others = [adapter for adapter in adapters if adapter.kind in ("lora", "embedding")]
    names = [(adapter.kind, adapter.id) for adapter in others]
    for adapter in others:
        field = "loras" if adapter.kind == "lora" else "embeddings"
        if names.count((adapter.kind, adapter.id)) > 1:
            raise InvalidRequest(field, f"{truncate(adapter.id)} is there twice")
        check_architecture(field, adapter, model)
    loras = tuple(LoraUse(lora=each.id, weight=each.weight) for each in adapters if each.kind == "lora")
    if len(loras) > MAX_LORAS:
        raise InvalidRequest(
            "loras",
            f"must have at most {MAX_LORAS - len(model.loras)} entries with the model {model.id},"
            f" which has {len(model.loras)} of its own",
        )
    embeddings = tuple(each.id for each in adapters if each.kind == "embedding")
    check_embedding_words(request, adapters)
    controls = tuple(
        use.model_copy(
            update={
                "controlnet": controlnet.id,
                "control_type": choose_control_type(f"controls[{number}].control_type", use, controlnet),
            }
        )
        for number, (use, controlnet) in enumerate(zip(request.controls, controlnets, strict=True))
    )
    references = request.references
    if ip_adapters:
        references = tuple(
            use.model_copy(update={"ip_adapter": ip_adapter.id})
            for use, ip_adapter in zip(references, ip_adapters, strict=True)
        )
    return request.model_copy(
        update={
            "loras": loras,
            "embeddings": embeddings,
            "controls": controls,
            "references": references,
            "vae": vae and vae.id,
            "detail_detector": detector and detector.id,
        }
    )


def check_embedding_words(request: GenerationRequest, adapters: Sequence[AdapterSource]) -> None:
    """Raises InvalidRequest for an embedding without its word in any prompt: it would have no effect."""
    words = {each.id: each.trigger for each in adapters if each.kind == "embedding"}
    used = find_used_embeddings((*request.prompts, request.negative_prompt, request.detail_prompt), words)
    for embedding, (word, *_) in words.items():
        if embedding not in used:
            raise InvalidRequest("embeddings", f"{truncate(embedding)} needs its word {truncate(word)} in a prompt")


def check_architecture(field: str, adapter: AdapterSource, model: ModelInfo) -> None:
    """Raises InvalidRequest for an adapter that was made for another architecture."""
    if adapter.architecture not in (model.architecture, UNKNOWN_ARCHITECTURE):
        raise InvalidRequest(
            field,
            f"{truncate(adapter.id)} was made for {adapter.architecture},"
            f" and the model {model.id} is {model.architecture}",
        )


def check_control_mode(field: str, use: ControlUse, controlnet: AdapterSource) -> None:
    """Raises InvalidRequest for a mode that only ControlNets of another architecture have."""
    if use.mode not in controlnet.control_modes:
        raise InvalidRequest(
            field, f"must be {' or '.join(controlnet.control_modes)} with a ControlNet for {controlnet.architecture}"
        )


def choose_control_type(field: str, use: ControlUse, controlnet: AdapterSource) -> ControlType | None:
    """Returns what the map of a control shows, for a union ControlNet; None for others. Raises InvalidRequest."""
    known = controlnet.control_types
    chosen = use.control_type or TYPE_BY_PREPROCESSOR.get(use.preprocessor)
    if known and chosen not in known:
        raise InvalidRequest(field, f"must be one of {', '.join(known)} with {truncate(controlnet.id)}")
    if use.control_type is not None and not known:
        raise InvalidRequest(field, f"must be left open: {truncate(controlnet.id)} is no union ControlNet")
    return chosen if known else None


def check_latents(vae: AdapterSource, model: ModelInfo) -> None:
    """Raises InvalidRequest for a VAE whose latents are not those of the model."""
    latents, own = vae.latents, model.latents
    assert latents is not None and own is not None
    if not latents.fits(own):
        raise InvalidRequest(
            "vae",
            f"{truncate(vae.id)} has latents with {latents.channels} channels for {latents.pixels} pixels"
            f" ({latents.architecture}), and the model {model.id} has {own.channels} for {own.pixels}"
            f" ({own.architecture})",
        )


def check_label(label: str, detector: AdapterSource) -> None:
    """Raises InvalidRequest for a label of objects that the detector does not know."""
    if label and label not in detector.labels:
        known = truncate(", ".join(detector.labels), 300)
        raise InvalidRequest("detail_label", f"must be one of {known} with the detector {truncate(detector.id)}")


def lowercase_first(text: str) -> str:
    return text[:1].lower() + text[1:]
