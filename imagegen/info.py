"""What is known of a model or an adapter: for people and programs, and for the worker that loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from imagegen.schema import LoraUse, Message, SamplerName

# How a model follows its prompt. "classifier-free": by guidance_scale, away from negative_prompt, from 1 on; "true":
# the same, under the name true_cfg_scale; "embedded": guidance_scale is an input of the network, and there is no
# negative prompt; "none": the model was distilled to need none of it.
Guidance = Literal["classifier-free", "true", "embedded", "none"]
Quantization = Literal["int8", "fp8", "nf4", "gguf"]
ModelState = Literal["absent", "downloading", "on disk", "in memory"]


class Capabilities(Message):
    """What a model can do, known before a job is accepted. Sides are multiples of `multiple` pixels, up to `max_side`.

    `strength` is whether image to image can say how far to move; `step_cache` whether steps can be guessed; `previews`
    whether pictures can be seen to form.
    """

    text_to_image: bool = True
    image_to_image: bool = False
    inpainting: bool = False
    strength: bool = False
    guidance: Guidance = "classifier-free"
    negative_prompt: bool = True
    weighted_prompt: bool = False
    clip_skip: bool = False
    step_cache: bool = False
    loras: bool = False
    embeddings: bool = False
    samplers: tuple[SamplerName, ...]
    multiple: int = 8
    max_side: int
    progress: bool = True
    previews: bool = True
    cancel: bool = True


class ModelInfo(Message):
    """What a model is called, what it can do, and what it does when not told otherwise.

    `architecture` is what its LoRAs must be made for, None before the model is on disk; `loras` are what it wears
    unless a request gives them other weights; `repository` and `revision` say where on the Hub it comes from.
    `memory_gb` and `download_gb` are in units of 10^9 bytes, None if unknown.
    """

    id: str
    name: str
    family: str
    can: Capabilities
    width: int
    height: int
    steps: int
    guidance_scale: float
    sampler: SamplerName
    strength: float = 0.6
    loras: tuple[LoraUse, ...] = ()
    architecture: str | None = None
    repository: str | None = None
    revision: str | None = None
    licence: str | None = None
    gated: bool = False
    quantization: Quantization | None = None
    memory_gb: float | None = None
    download_gb: float | None = None


class ModelStatus(Message):
    """`received` of `size` bytes are there while a model downloads; `deletable` is what the studio downloaded."""

    model: ModelInfo
    state: ModelState
    deletable: bool = False
    received: int | None = None
    size: int | None = None


class Step(Message):
    """How far something is on its way to where it can be used: `received` of `size` bytes while it downloads."""

    id: str
    doing: Literal["asking the Hub", "downloading", "loading", "done"]
    received: int | None = None
    size: int | None = None


AdapterKind = Literal["lora", "embedding"]


class AdapterInfo(Message):
    """A LoRA or a textual inversion on disk. `architecture` is what it was made for, `trigger` what calls it up.

    `base_model` and `description` are what its author wrote into it; `size` is in bytes; `deletable` is what the studio
    downloaded.
    """

    kind: AdapterKind
    id: str
    name: str
    architecture: str
    trigger: tuple[str, ...] = ()
    base_model: str | None = None
    description: str | None = None
    licence: str | None = None
    size: int
    deletable: bool = False


class ModelSource(Message):
    """What a worker needs to know to load a model. Paths are absolute.

    `path` is a folder in diffusers format, or one checkpoint file, whose configuration is in the folder `config`;
    `trailing` is whether its few steps must end where its training did. `pipeline` is a name in the table of families.
    `changed` is when its files last were, in nanoseconds: another time is another model.
    """

    id: str
    name: str
    pipeline: str
    path: Path
    config: Path | None = None
    trailing: bool = False
    quantization: Quantization | None = None
    revision: str | None = None
    changed: int = 0


class AdapterSource(Message):
    """What a worker needs to know to put an adapter on. Weight 0 is as if it were not there.

    `sha256` is of the whole file, `architecture` as in AdapterInfo.
    """

    kind: AdapterKind
    id: str
    name: str
    path: Path
    sha256: str
    architecture: str
    trigger: tuple[str, ...] = ()
    weight: float = 1.0
