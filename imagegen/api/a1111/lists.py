"""The lists of models, samplers, upscalers and adapters, in the web UI's form."""

from __future__ import annotations

from typing import Any

import psutil
from pydantic import Field

from imagegen.api.a1111.checkpoints import list_models_on_disk
from imagegen.api.a1111.outpainting import TITLES
from imagegen.api.a1111.samplers import (
    AUTOMATIC,
    KARRAS,
    KARRAS_BY_DEFAULT,
    KARRAS_VARIANTS,
    SAMPLER_ALIASES,
    SAMPLER_NAMES,
    UNIFORM,
    UNIFORM_NAMES,
)
from imagegen.api.a1111.scripts import SCRIPTS
from imagegen.library.adapters import Adapter
from imagegen.library.weight_files import read_header
from imagegen.media.metadata.infotext import MODEL_HASH_DIGITS
from imagegen.model_manager import ModelManager
from imagegen.schema.base import FrozenModel
from imagegen.schema.models import AdapterInfo, ModelStatus


class Checkpoint(FrozenModel):
    """`title` is the name by which a model is chosen.

    `sha256` is the checksum in receipts, and `hash` its first ten digits, as in the settings in pictures. Both are null
    for a model that was never loaded: computing them reads whole files.
    """

    title: str
    model_name: str
    hash: str | None = None
    sha256: str | None = None
    filename: str
    config: str | None = None


class Sampler(FrozenModel):
    name: str
    aliases: tuple[str, ...]
    options: dict[str, str]


class Scheduler(FrozenModel):
    name: str
    label: str
    aliases: tuple[str, ...] | None = None
    default_rho: float = -1
    need_inner_model: bool = False


class Upscaler(FrozenModel):
    name: str
    model_name: str | None = None
    model_path: str | None = None
    model_url: str | None = None
    scale: float = 4


class LatentUpscaleMode(FrozenModel):
    name: str


class Lora(FrozenModel):
    name: str
    alias: str
    path: str
    metadata: dict[str, Any]


class Embedding(FrozenModel):
    """`shape` is the length of each of the `vectors`."""

    step: int | None = None
    sd_checkpoint: str | None = None
    sd_checkpoint_name: str | None = None
    shape: int
    vectors: int


class Embeddings(FrozenModel):
    """By trigger word: embeddings that fit the caller's model, and the others."""

    loaded: dict[str, Embedding]
    skipped: dict[str, Embedding]


class Scripts(FrozenModel):
    """The scripts that `alwayson_scripts` and `script_name` can have, in small letters, as the web UI lists them."""

    txt2img: tuple[str, ...] = SCRIPTS
    img2img: tuple[str, ...] = (*SCRIPTS, *map(str.lower, TITLES))


class Memory(FrozenModel):
    """In bytes."""

    ram: dict[str, int]
    cuda: dict[str, Any] = Field(description="Empty: only the worker process uses CUDA.")


def list_checkpoints(model_manager: ModelManager) -> list[Checkpoint]:
    return [describe_checkpoint(model_manager, status) for status in list_models_on_disk(model_manager)]


def describe_checkpoint(model_manager: ModelManager, status: ModelStatus) -> Checkpoint:
    name, source = status.model.id, model_manager.resolve_model(status.model.id)[1]
    find_or_compute = (
        model_manager.compute_model_sha256 if status.state == "in memory" else model_manager.find_model_sha256
    )
    sha256 = find_or_compute(source)
    short = sha256[:MODEL_HASH_DIGITS] if sha256 is not None else None
    return Checkpoint(title=name, model_name=name, hash=short, sha256=sha256, filename=name)


def list_samplers() -> list[Sampler]:
    return [
        Sampler(
            name=name,
            aliases=SAMPLER_ALIASES.get(name, ()),
            options={"scheduler": KARRAS} if name in (*KARRAS_BY_DEFAULT, *KARRAS_VARIANTS.values()) else {},
        )
        for name in SAMPLER_NAMES
    ]


def list_schedulers() -> list[Scheduler]:
    return [
        Scheduler(name=AUTOMATIC, label="Automatic"),
        Scheduler(name=UNIFORM, label="Uniform", aliases=UNIFORM_NAMES[1:], need_inner_model=True),
        Scheduler(name=KARRAS, label="Karras", default_rho=7),
    ]


def list_upscalers(model_manager: ModelManager) -> list[Upscaler]:
    """The web UI's own filters have a scale of 4 too."""
    found = [
        Upscaler(name=each.id, model_name=each.name if each.scale else None, scale=each.scale or 4)
        for each in model_manager.list_upscalers()
    ]
    return [Upscaler(name="None"), *found]


def list_loras(adapters: list[AdapterInfo]) -> list[Lora]:
    return [
        Lora(name=each.id, alias=each.name, path=each.id, metadata=each.model_dump(exclude_none=True))
        for each in adapters
    ]


def list_embeddings(model_manager: ModelManager, model: str) -> Embeddings:
    """Raises UnknownModel, UnusableModel and NotOnDisk."""
    info, _ = model_manager.resolve_model(model)
    found = model_manager.library.adapters["embedding"].list_available()
    loaded = [each for each in found if each.info.architecture == info.architecture]
    skipped = [each for each in found if each not in loaded]
    return Embeddings(loaded=dict(map(describe_embedding, loaded)), skipped=dict(map(describe_embedding, skipped)))


def describe_embedding(adapter: Adapter) -> tuple[str, Embedding]:
    *rows, width = next(iter(read_header(adapter.path).shapes.values()))
    return adapter.info.trigger[0], Embedding(shape=width, vectors=rows[0] if rows else 1)


def read_memory() -> Memory:
    usage = psutil.virtual_memory()
    ram = {"free": usage.available, "used": usage.total - usage.available, "total": usage.total}
    return Memory(ram=ram, cuda={})
