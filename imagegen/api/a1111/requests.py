"""What txt2img and img2img take, and what it is as a request of ours.

Values are checked as those of the field that they become. What is wrong is told in the names that were sent.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from imagegen.api.a1111.checkpoints import FIELD, chosen, found
from imagegen.api.a1111.fixed import (
    DRAWING,
    REPAINTING,
    SETTINGS,
    UNHEARD_IN_DRAWING,
    UNHEARD_IN_REPAINTING,
    with_fixed,
)
from imagegen.api.a1111.networks import called_up, networks
from imagegen.api.a1111.pictures import fitted
from imagegen.api.a1111.samplers import ALIASES, SAMPLERS, sampler
from imagegen.errors import InvalidRequest, of_field
from imagegen.schema import SEED_LIMIT, GenerationRequest, Text, User
from imagegen.service import Service
from imagegen.validation import parse_request

PROPERTIES = GenerationRequest.model_json_schema()["properties"]
# How the web UI calls what is called otherwise here.
THEIRS = {
    "guidance_scale": "cfg_scale",
    "sampler": "sampler_name",
    "strength": "denoising_strength",
    "model": FIELD,
    "init_image": "init_images",
    "loras": "prompt",
    "embeddings": "prompt",
}
IN_A_LORA = re.compile(r"loras\[\d+\]\.(\w+)")
SEED = {"type": ["integer", "null"], "minimum": -1, "maximum": SEED_LIMIT, "description": "-1 or null: a new one."}
LAYER = {"enum": [1, 2, 3, None], "description": "Which of the text encoder's layers to hear, counted from the last."}


def like(field: str) -> WithJsonSchema:
    return WithJsonSchema({key: value for key, value in PROPERTIES[field].items() if key not in ("title", "default")})


def schema(**said: Any) -> WithJsonSchema:
    return WithJsonSchema(said)


class Heard(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Overrides(Heard):
    """Settings for one request."""

    sd_model_checkpoint: Annotated[Any, schema(type=["string", "null"], description="A title from sd-models.")] = None
    CLIP_stop_at_last_layers: Annotated[Any, schema(**LAYER)] = None


class Drawing(Heard):
    """A picture out of words. What the studio does not do must have its usual value, and is refused by name."""

    prompt: Annotated[Any, like("prompt")] = Field(examples=["a red circle on a blue background <lora:neon:0.5>"])
    negative_prompt: Annotated[Any, like("negative_prompt")] = ""
    width: Annotated[Any, like("width")] = None
    height: Annotated[Any, like("height")] = None
    steps: Annotated[Any, like("steps")] = None
    cfg_scale: Annotated[Any, like("guidance_scale")] = None
    sampler_name: Annotated[Text | None, schema(enum=[*SAMPLERS, *chain(*ALIASES.values()), None])] = None
    sampler_index: Annotated[Text | None, Field(description="The old name of sampler_name.")] = None
    scheduler: Annotated[Text | None, schema(enum=["automatic", "karras", None])] = None
    seed: Annotated[Any, schema(**SEED)] = -1
    batch_size: Annotated[Any, like("batch_size")] = 1
    n_iter: Annotated[Any, like("batch_size")] = 1
    clip_skip: Annotated[Any, schema(**LAYER)] = None
    send_images: bool | None = True
    override_settings: Overrides | None = None


class Repainting(Drawing):
    """A picture made anew, from it and from words."""

    init_images: tuple[str, ...] = Field(description="One picture, in base64 or as a data URI.")
    denoising_strength: Annotated[Any, like("strength")] = None
    resize_mode: Annotated[
        Any, schema(enum=[0, 1], description="0 stretches the picture, 1 cuts off what is over.")
    ] = 0


SETTINGS_FIELD = (with_fixed("OverrideSettings", Overrides, SETTINGS, {}) | None, None)
DrawingBody = with_fixed("TextToImageFields", Drawing, DRAWING, UNHEARD_IN_DRAWING, override_settings=SETTINGS_FIELD)
RepaintingBody = with_fixed(
    "ImageToImageFields", Repainting, REPAINTING, UNHEARD_IN_REPAINTING, override_settings=SETTINGS_FIELD
)


async def request(service: Service, asked: Drawing, user: User) -> GenerationRequest:
    """Raises InvalidRequest."""
    fields = words(asked) | {
        "width": asked.width,
        "height": asked.height,
        "steps": asked.steps,
        "guidance_scale": asked.cfg_scale,
        "sampler": sampler(asked.sampler_name or asked.sampler_index, asked.scheduler),
        "seed": None if asked.seed == -1 else asked.seed,
        "batch_size": pictures(asked),
        "clip_skip": clip_skip(asked),
    }
    parse_request(fields)
    fields["model"] = model = await asyncio.to_thread(found, service.stock, wanted(service, asked, user))
    fields["embeddings"] = await asyncio.to_thread(embeddings, service, asked, model)
    if isinstance(asked, Repainting):
        size = asked.width, asked.height
        fields["init_image"] = await fitted(service, asked.init_images, asked.resize_mode, size, model, user)
        fields["strength"] = asked.denoising_strength
    return parse_request(fields)


def words(asked: Drawing) -> dict[str, Any]:
    prompt, loras = networks(asked.prompt) if isinstance(asked.prompt, str) else (asked.prompt, [])
    return {"prompt": prompt, "negative_prompt": asked.negative_prompt, "loras": loras}


def pictures(asked: Drawing) -> int:
    """In all. Raises InvalidRequest."""
    together = value("batch_size", asked.batch_size) * value("n_iter", asked.n_iter)
    most = PROPERTIES["batch_size"]["maximum"]
    if together > most:
        raise InvalidRequest("batch_size", f"times n_iter must be at most {most}, not {together}")
    return together


def value(name: str, sent: Any) -> int:
    with of_field(name):
        return parse_request({"prompt": name, "batch_size": sent}).batch_size


def clip_skip(asked: Drawing) -> int | None:
    """The web UI counts from 1, and has two places to say it. Raises InvalidRequest."""
    overrides = asked.override_settings or Overrides()
    said = {"clip_skip": asked.clip_skip, "CLIP_stop_at_last_layers": overrides.CLIP_stop_at_last_layers}
    layers = {name: layer(name, sent) for name, sent in said.items() if sent is not None}
    if len(set(layers.values())) > 1:
        raise InvalidRequest("clip_skip", "must be the same as CLIP_stop_at_last_layers in override_settings")
    return next(iter(layers.values()), None)


def layer(name: str, sent: Any) -> int:
    if isinstance(sent, bool) or not isinstance(sent, int | float) or sent not in (1, 2, 3):
        raise InvalidRequest(name, "must be 1, 2 or 3")
    return int(sent) - 1


def wanted(service: Service, asked: Drawing, user: User) -> Any:
    """What is said to be the title of a model."""
    title = asked.override_settings.sd_model_checkpoint if asked.override_settings else None
    return chosen(service, user) if title is None or title == "" else title


def embeddings(service: Service, asked: Drawing, model: str) -> list[str]:
    info, _ = service.stock.model(model)
    return called_up(f"{asked.prompt}\n{asked.negative_prompt}", service.stock.listed("embedding"), info.architecture)


@contextmanager
def in_their_names() -> Iterator[None]:
    """What is wrong inside is wrong with what the web UI has for the field."""
    try:
        yield
    except InvalidRequest as error:
        part = IN_A_LORA.fullmatch(error.field)
        if part is not None:
            raise InvalidRequest("prompt", f"{part[1]} in <lora:name:weight> {error.problem}") from None
        with of_field(THEIRS.get(error.field, error.field)):
            raise
