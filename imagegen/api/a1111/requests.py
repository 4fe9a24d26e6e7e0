"""The fields of txt2img and img2img, and their translation into a request of the studio.

Each value is checked by the field of the request that it is mapped to. Errors have the names that were sent.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Annotated, Any, Literal

from pydantic import Field

from imagegen.api.a1111.adetailer import NAME as ADETAILER
from imagegen.api.a1111.adetailer import TAB_NAMES, build_detail_fields
from imagegen.api.a1111.checkpoints import CHECKPOINT_FIELD, find_model, resolve_model_title
from imagegen.api.a1111.controlnet import UNIT_NAMES, store_controls
from imagegen.api.a1111.field_types import READ_NUMBER, REQUEST_PROPERTIES, MapsTo, build_json_schema
from imagegen.api.a1111.fixed_fields import (
    IMG2IMG_FIXED,
    IMG2IMG_IGNORED,
    OVERRIDE_SETTINGS_FIXED,
    TXT2IMG_FIXED,
    TXT2IMG_IGNORED,
    create_fields_model,
)
from imagegen.api.a1111.hires import HIRES_NAMES, HiresFields, build_hires_fields
from imagegen.api.a1111.mask import MASK_FIELD, MASK_NAMES, MaskFields, store_mask
from imagegen.api.a1111.outpainting import TITLES, build_extension_fields, find_script
from imagegen.api.a1111.reference_units import name_unit, store_references
from imagegen.api.a1111.samplers import (
    AUTOMATIC,
    KARRAS,
    SAMPLER_ALIASES,
    SAMPLER_NAMES,
    UNIFORM,
    find_sampler,
    resolve_sampler,
)
from imagegen.api.a1111.scripts import AlwaysOnScripts
from imagegen.api.a1111.start_image import A1111_FIELD, FIELD, KEEP_SHAPE, store_start_image
from imagegen.api.a1111.unknown_fields import OpenModel, list_unknown_fields
from imagegen.api.a1111.vaes import VAE_FIELD, VAE_SCHEMA, resolve_vae
from imagegen.errors import InvalidRequest, attribute_errors_to
from imagegen.schema.base import User
from imagegen.schema.embedding_words import find_used_embeddings
from imagegen.schema.field_types import MAX_SEED, PrintableText
from imagegen.schema.markers import find_marked_fields
from imagegen.schema.models import ModelInfo
from imagegen.schema.request import REQUIRES, GenerationRequest
from imagegen.schema.validation import parse_request
from imagegen.service import Service

LORA_FIELD_PATTERN = re.compile(r"loras\[\d+\]\.(\w+)")
UNIT_FIELD_PATTERN = re.compile(r"(controls|references)\[(\d+)\]\.(\w+)")
SEED_SCHEMA = {
    "type": ["integer", "null"],
    "minimum": -1,
    "maximum": MAX_SEED,
    "description": "-1 or null: a new one.",
}
CLIP_SKIP_SCHEMA = {
    "enum": [0, 1, 2, 3, None],
    "description": "Which of the text encoder's layers to use, counted from the last; 0 is the same as 1.",
}
SDCPP_MODEL = "A title, as in clients of stable-diffusion.cpp. Another value is ignored."
SCRIPT_NAME = "A script that extends the start image. Width and height then have no effect."
SCRIPT_ARGUMENTS = "The script's arguments in its order. Others than pixels and direction must be the web UI's own."
ETA_SCHEMA = {
    "type": ["number", "null"],
    "description": "How much noise each step adds, for samplers that add any: 0 for none, or 1.",
}


class OverrideFields(OpenModel):
    """Settings for one request."""

    sd_model_checkpoint: Annotated[
        Any, build_json_schema(type=["string", "null"], description="A title from sd-models.")
    ] = None
    sd_vae: Annotated[Any, VAE_SCHEMA] = None
    CLIP_stop_at_last_layers: Annotated[Any, READ_NUMBER, build_json_schema(**CLIP_SKIP_SCHEMA)] = None
    samples_format: Literal["png", "jpg", "jpeg", "webp"] | None = Field(
        None, description="The format of the pictures in the answer."
    )
    control_net_no_detectmap: bool | None = Field(
        None, description="Whether the control maps of units are left out of the answer."
    )
    jpeg_quality: Annotated[int, READ_NUMBER] | None = Field(None, ge=1, le=100, description="For jpg, jpeg and webp.")


class Txt2ImgFields(OpenModel):
    """A picture from a prompt. Fields for what the studio cannot do must have their usual value."""

    prompt: Annotated[Any, MapsTo("prompt")] = Field("", examples=["a red circle on a blue background <lora:neon:0.5>"])
    negative_prompt: Annotated[Any, MapsTo("negative_prompt")] = ""
    width: Annotated[Any, READ_NUMBER, MapsTo("width")] = None
    height: Annotated[Any, READ_NUMBER, MapsTo("height")] = None
    steps: Annotated[Any, READ_NUMBER, MapsTo("steps")] = None
    cfg_scale: Annotated[Any, READ_NUMBER, MapsTo("guidance_scale")] = None
    sampler_name: Annotated[
        PrintableText | None, build_json_schema(enum=[*SAMPLER_NAMES, *chain(*SAMPLER_ALIASES.values()), None])
    ] = None
    sampler_index: Annotated[PrintableText | None, Field(description="The old name of sampler_name.")] = None
    scheduler: Annotated[PrintableText | None, build_json_schema(enum=[AUTOMATIC, UNIFORM, KARRAS, None])] = None
    eta: Annotated[Any, READ_NUMBER, build_json_schema(**ETA_SCHEMA)] = None
    seed: Annotated[Any, READ_NUMBER, build_json_schema(**SEED_SCHEMA)] = -1
    subseed: Annotated[Any, READ_NUMBER, build_json_schema(**SEED_SCHEMA)] = -1
    subseed_strength: Annotated[Any, READ_NUMBER, MapsTo("variation_strength")] = 0
    batch_size: Annotated[Any, READ_NUMBER, MapsTo("batch_size")] = 1
    n_iter: Annotated[Any, READ_NUMBER, MapsTo("batch_size")] = 1
    clip_skip: Annotated[Any, READ_NUMBER, build_json_schema(**CLIP_SKIP_SCHEMA)] = None
    model: Annotated[Any, build_json_schema(description=SDCPP_MODEL)] = None
    send_images: bool | None = True
    alwayson_scripts: AlwaysOnScripts = None
    override_settings: OverrideFields | None = None


class Img2ImgFields(MaskFields, Txt2ImgFields):
    """A picture from another picture and a prompt; with a mask, only the masked part is painted anew."""

    init_images: tuple[str, ...] | None = Field(None, description="One picture, in base64 or as a data URI.")
    denoising_strength: Annotated[Any, READ_NUMBER, MapsTo("strength")] = None
    resize_mode: Annotated[
        Any, build_json_schema(enum=[0, 1], description="0 stretches the picture, 1 cuts off its edges.")
    ] = 0
    script_name: Annotated[Any, build_json_schema(enum=[*TITLES, "", "None", None], description=SCRIPT_NAME)] = None
    script_args: Annotated[Any, build_json_schema(type=["array", "null"], description=SCRIPT_ARGUMENTS)] = None


class HiresTxt2ImgFields(Txt2ImgFields, HiresFields):
    """A picture from a prompt. Fields for what the studio cannot do must have their usual value."""


OVERRIDE_SETTINGS_FIELD = (
    create_fields_model("OverrideSettings", OverrideFields, OVERRIDE_SETTINGS_FIXED, {}) | None,
    None,
)
Txt2ImgBody = create_fields_model(
    "TextToImageFields", HiresTxt2ImgFields, TXT2IMG_FIXED, TXT2IMG_IGNORED, override_settings=OVERRIDE_SETTINGS_FIELD
)
Img2ImgBody = create_fields_model(
    "ImageToImageFields", Img2ImgFields, IMG2IMG_FIXED, IMG2IMG_IGNORED, override_settings=OVERRIDE_SETTINGS_FIELD
)


# The web UI's names for the request's fields.
A1111_NAMES = {mapped.field: name for name, mapped in find_marked_fields(Img2ImgFields, MapsTo).items()} | {
    "batch_size": "batch_size",
    "variation_seed": "subseed",
    "sampler": "sampler_name",
    "model": CHECKPOINT_FIELD,
    "loras": "prompt",
    "embeddings": "prompt",
    "controls": "alwayson_scripts",
    "references": "alwayson_scripts",
    "vae": VAE_FIELD,
    FIELD: A1111_FIELD,
    **HIRES_NAMES,
    **MASK_NAMES,
}


# The request's fields that have no name in the web UI's API.
STUDIO_FIELDS = GenerationRequest.model_fields.keys() - A1111_NAMES.keys() - Img2ImgFields.model_fields.keys()


async def convert_a1111_request(
    service: Service, body: Txt2ImgFields, user: User, chosen_vae: str | None = None
) -> GenerationRequest:
    """Returns the request in a body, with its start image stored. Raises InvalidRequest.

    `chosen_vae` is the VAE that the user chose in the options, for a request that names none.
    """
    check_studio_fields(body)
    fields = {mapped.field: getattr(body, name) for name, mapped in find_marked_fields(type(body), MapsTo).items()}
    sampler_name = body.sampler_name or body.sampler_index
    fields |= {
        "prompt": "" if body.prompt is None else body.prompt,
        "sampler": find_sampler(sampler_name),
        "seed": None if body.seed == -1 else body.seed,
        "variation_seed": None if body.subseed == -1 else body.subseed,
        "batch_size": count_pictures(body),
        "clip_skip": resolve_clip_skip(body),
    }
    fields |= dict.fromkeys(HIRES_NAMES)
    parse_request({name: value for name, value in fields.items() if name not in REQUIRES})
    model = await asyncio.to_thread(resolve_model, service, body, await service.get_model_choice(user))
    fields |= {
        "model": model.id,
        "sampler": resolve_sampler(sampler_name, body.scheduler, body.eta, model),
        "embeddings": await asyncio.to_thread(resolve_embeddings, service, body, model),
        "vae": await asyncio.to_thread(resolve_vae, service.model_manager, get_vae_name(body, chosen_vae)),
    }
    script = find_script(body.script_name) if isinstance(body, Img2ImgFields) else None
    size = int(body.width or model.width), int(body.height or model.height)
    if isinstance(body, HiresTxt2ImgFields):
        fields |= build_hires_fields(body, body.cfg_scale, size)
    pictures = (body.init_images or ()) if isinstance(body, Img2ImgFields) else ()
    start_image = next(iter(pictures), None)
    # The start image has not the shape of the extended picture, for which control maps are.
    control_image = None if script else start_image
    fields["controls"] = await store_controls(service, body.alwayson_scripts, control_image, size, user)
    fields["references"] = await store_references(service, body.alwayson_scripts, start_image, user)
    fields |= await build_detail_fields(service.model_manager, body.alwayson_scripts)
    if isinstance(body, Img2ImgFields) and script is not None:
        if not model.can.inpainting:
            raise InvalidRequest("script_name", f"cannot be used with the model {model.id}")
        if body.mask not in (None, ""):
            raise InvalidRequest(MASK_FIELD, "must be left out with script_name")
        fields |= build_extension_fields(script, body.script_args) | {"width": None, "height": None}
        fields |= await store_start_image(service, pictures, KEEP_SHAPE, size, user)
    elif isinstance(body, Img2ImgFields):
        fields |= await store_start_image(service, pictures, body.resize_mode, size, user)
        fields |= await store_mask(service, body, pictures[0], body.resize_mode, size, user)
    return parse_request(fields)


def check_studio_fields(body: Txt2ImgFields) -> None:
    """Raises InvalidRequest for a field of the studio's own that would have an effect in its other APIs."""
    for name in STUDIO_FIELDS & (body.model_extra or {}).keys():
        if (body.model_extra or {})[name] not in (None, [], GenerationRequest.model_fields[name].default):
            if name in TAB_NAMES:
                raise InvalidRequest(name, f"must be used instead of {name}")
            raise InvalidRequest(name, "is not a field of this API; the studio's own APIs have it")


def count_pictures(body: Txt2ImgFields) -> int:
    """Returns the number of pictures of all batches. Raises InvalidRequest."""
    total = parse_count("batch_size", body.batch_size) * parse_count("n_iter", body.n_iter)
    maximum = REQUEST_PROPERTIES["batch_size"]["maximum"]
    if total > maximum:
        raise InvalidRequest("batch_size", f"times n_iter must be at most {maximum}, not {total}")
    return total


def parse_count(name: str, sent: Any) -> int:
    with attribute_errors_to(name):
        return parse_request({"prompt": name, "batch_size": sent}).batch_size


def resolve_clip_skip(body: Txt2ImgFields) -> int | None:
    """Returns how many layers to leave out, from two fields that count the layers from 1. Raises InvalidRequest."""
    overrides = body.override_settings or OverrideFields()
    sent_values = {"clip_skip": body.clip_skip, "CLIP_stop_at_last_layers": overrides.CLIP_stop_at_last_layers}
    layers = {name: parse_clip_layer(name, sent) for name, sent in sent_values.items() if sent is not None}
    if len(set(layers.values())) > 1:
        raise InvalidRequest("clip_skip", "must be the same as CLIP_stop_at_last_layers in override_settings")
    return next(iter(layers.values()), None)


def parse_clip_layer(name: str, sent: Any) -> int:
    if isinstance(sent, bool) or not isinstance(sent, int | float) or sent not in (0, 1, 2, 3):
        raise InvalidRequest(name, "must be 1, 2 or 3; 0 is the same as 1")
    return max(int(sent) - 1, 0)


def resolve_model(service: Service, body: Txt2ImgFields, chosen_model: str) -> ModelInfo:
    """Returns the model in the request, or else `chosen_model`, the one that the user chose in the options.

    Raises InvalidRequest, UnknownModel, UnusableModel and NotOnDisk.
    """
    title = body.override_settings.sd_model_checkpoint if body.override_settings else None
    if title is None or title == "":
        title = find_model(service.model_manager, body.model) or chosen_model
    return service.model_manager.resolve_model(resolve_model_title(service.model_manager, title))[0]


def get_vae_name(body: Txt2ImgFields, chosen_vae: str | None) -> Any:
    name = body.override_settings.sd_vae if body.override_settings else None
    return chosen_vae if name is None else name


def resolve_embeddings(service: Service, body: Txt2ImgFields, model: ModelInfo) -> list[str]:
    """Returns the ids of the embeddings for the model's architecture whose word is in one of the prompts."""
    embeddings = service.model_manager.list_adapters("embedding")
    words = {each.id: each.trigger for each in embeddings if each.architecture == model.architecture}
    return find_used_embeddings([text for text in (body.prompt, body.negative_prompt) if isinstance(text, str)], words)


def list_ignored_fields(service: Service, body: Txt2ImgFields) -> tuple[str, ...]:
    """Returns the names of the fields that the web UI ignores too, and of what the studio does not have."""
    styles = getattr(body, "styles", None)
    ignored = {"styles": bool(styles), "model": body.model and find_model(service.model_manager, body.model) is None}
    if isinstance(body, Img2ImgFields) and find_script(body.script_name) is not None:
        ignored |= {name: getattr(body, name) is not None for name in ("width", "height")}
    return (*(name for name, is_ignored in ignored.items() if is_ignored), *list_unknown_fields(body))


@contextmanager
def report_a1111_field_names(scripts: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Renames the field of an InvalidRequest that is raised inside to the web UI's name for it.

    `scripts` are those of the request, whose units became controls and reference pictures.
    """
    try:
        yield
    except InvalidRequest as error:
        match = LORA_FIELD_PATTERN.fullmatch(error.field)
        if match is not None:
            raise InvalidRequest("prompt", f"{match[1]} in <lora:name:weight> {error.problem}") from None
        unit = UNIT_FIELD_PATTERN.fullmatch(error.field)
        if unit is not None:
            place, name = name_unit(scripts, unit[1], int(unit[2])), UNIT_NAMES.get(unit[3], unit[3])
            raise InvalidRequest(f"{place}.{name}", error.problem) from None
        if error.field.startswith(ADETAILER):
            raise InvalidRequest(f"alwayson_scripts.{error.field}", error.problem) from None
        if error.field in TAB_NAMES:
            raise InvalidRequest(f"alwayson_scripts.{ADETAILER}.{TAB_NAMES[error.field]}", error.problem) from None
        with attribute_errors_to(A1111_NAMES.get(error.field, error.field)):
            raise
