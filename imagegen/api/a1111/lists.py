"""What there is to choose from, under the web UI's names."""

from __future__ import annotations

from typing import Any

import psutil
from pydantic import Field

from imagegen.api.a1111.checkpoints import on_disk
from imagegen.api.a1111.samplers import ALIASES, KARRAS, SAMPLERS
from imagegen.info import AdapterInfo
from imagegen.library.adapters import Adapter
from imagegen.library.weights import head
from imagegen.schema import Message
from imagegen.stock import Stock


class Checkpoint(Message):
    """`title` is what a model is chosen by. Whole files are not read for a checksum."""

    title: str
    model_name: str
    hash: str | None = None
    sha256: str | None = None
    filename: str
    config: str | None = None


class Sampler(Message):
    name: str
    aliases: tuple[str, ...]
    options: dict[str, str]


class Scheduler(Message):
    name: str
    label: str
    aliases: tuple[str, ...] | None = None
    default_rho: float = -1
    need_inner_model: bool = False


class Upscaler(Message):
    name: str
    model_name: str | None = None
    model_path: str | None = None
    model_url: str | None = None
    scale: float = 4


class Lora(Message):
    name: str
    alias: str
    path: str
    metadata: dict[str, Any]


class Embedding(Message):
    """`shape` is how wide each of the `vectors` is."""

    step: int | None = None
    sd_checkpoint: str | None = None
    sd_checkpoint_name: str | None = None
    shape: int
    vectors: int


class Embeddings(Message):
    """By the words that call them up: those that fit the caller's model, and the others."""

    loaded: dict[str, Embedding]
    skipped: dict[str, Embedding]


class Scripts(Message):
    txt2img: tuple[str, ...] = ()
    img2img: tuple[str, ...] = ()


class Memory(Message):
    """In bytes."""

    ram: dict[str, int]
    cuda: dict[str, Any] = Field(description="Only the worker knows.")


def checkpoints(stock: Stock) -> list[Checkpoint]:
    ids = [status.model.id for status in on_disk(stock)]
    return [Checkpoint(title=each, model_name=each, filename=each) for each in ids]


def samplers() -> list[Sampler]:
    return [
        Sampler(
            name=name, aliases=ALIASES.get(name, ()), options={"scheduler": "karras"} if name.endswith(KARRAS) else {}
        )
        for name in SAMPLERS
    ]


def schedulers() -> list[Scheduler]:
    return [Scheduler(name="automatic", label="Automatic"), Scheduler(name="karras", label="Karras", default_rho=7)]


def upscalers() -> list[Upscaler]:
    return [Upscaler(name=name) for name in ("None", "Lanczos", "Nearest")]


def loras(found: list[AdapterInfo]) -> list[Lora]:
    return [
        Lora(name=each.id, alias=each.name, path=each.id, metadata=each.model_dump(exclude_none=True)) for each in found
    ]


def embeddings(stock: Stock, model: str) -> Embeddings:
    """Raises UnknownModel, UnusableModel and NotOnDisk."""
    info, _ = stock.model(model)
    found = stock.library.adapters["embedding"].all()
    loaded = [each for each in found if each.info.architecture == info.architecture]
    skipped = [each for each in found if each not in loaded]
    return Embeddings(loaded=dict(map(embedding, loaded)), skipped=dict(map(embedding, skipped)))


def embedding(adapter: Adapter) -> tuple[str, Embedding]:
    *rows, width = next(iter(head(adapter.path).shapes.values()))
    return adapter.info.trigger[0], Embedding(shape=width, vectors=rows[0] if rows else 1)


def memory() -> Memory:
    now = psutil.virtual_memory()
    ram = {"free": now.available, "used": now.total - now.available, "total": now.total}
    return Memory(ram=ram, cuda={})
