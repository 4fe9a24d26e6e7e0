"""Facts about models and adapters: for users and programs, and for the worker that loads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from imagegen.schema.base import FrozenModel
from imagegen.schema.controls import ControlMode, ControlType, Preprocessor
from imagegen.schema.field_types import MAX_STEPS, SamplerName
from imagegen.schema.request import GenerationRequest, LoraUse

# How a model follows its prompt. "classifier-free": by guidance_scale and negative_prompt, with no effect at 1; "true":
# the same, as diffusers' true_cfg_scale; "embedded": guidance_scale is an input of the network, and there is no
# negative prompt; "none": the model was distilled to need no guidance.
Guidance = Literal["classifier-free", "true", "embedded", "none"]
Quantization = Literal["int8", "fp8", "nf4", "gguf"]
# What a denoiser predicts, by diffusers' names: the noise, a mixture of noise and picture, or the picture.
PredictionType = Literal["epsilon", "v_prediction", "sample"]
# The architecture of an adapter whose file does not name one; it is accepted for every model.
UNKNOWN_ARCHITECTURE = "unknown"
ModelState = Literal["absent", "downloading", "on disk", "in memory"]
RunsHere = Literal["yes", "slow", "too large"]


# How many times longer than the longest side of a model's pictures those of its second pass may be.
MAX_HIRES_FACTOR = 2


class Capabilities(FrozenModel):
    """What a model can do. Width and height are multiples of `multiple` pixels, up to `max_side`."""

    # A field of the request names the capability that it needs; that of a task has the task's name. The title is the
    # name on a model's card. A model looks at reference pictures through IP-Adapters, or itself if it has none.

    text_to_image: bool = True
    image_to_image: bool = False
    inpainting: bool = False
    strength: bool = False
    guidance: Guidance = "classifier-free"
    negative_prompt: bool = True
    weighted_prompt: bool = Field(False, title="weighted words")
    clip_skip: bool = False
    latent_upscaling: bool = False
    step_cache: bool = False
    controlnet: bool = Field(False, title="ControlNet")
    references: bool = Field(False, title="reference pictures")
    ip_adapters: bool = Field(False, title="IP-Adapters")
    vae: bool = Field(False, title="other VAEs")
    loras: bool = Field(False, title="LoRAs")
    embeddings: bool = False
    shared_passes: bool = Field(True, title="shared steps")
    samplers: tuple[SamplerName, ...]
    multiple: int = 8
    max_side: int

    @property
    def max_hires_side(self) -> int:
        """The most pixels of a side of the second pass."""
        return MAX_HIRES_FACTOR * self.max_side

    def supports(self, capability: str) -> bool:
        """Returns whether the model has a capability: the name of one of these fields."""
        return getattr(self, capability) not in (False, "none")

    @property
    def abilities(self) -> dict[str, bool]:
        """Whether the model has each capability that it has or has not, by the capability's name for users."""
        flags = {name: value for name, value in self if isinstance(value, bool)}
        return {type(self).model_fields[name].title or name.replace("_", " "): flags[name] for name in flags}


class Latents(FrozenModel):
    """The latents of a VAE, or of a model: their channels, and how many pixels one of them stands for along a side.

    `architecture` is what tells them from others of the same shape, such as "Stable Diffusion XL".
    """

    channels: int
    pixels: int
    architecture: str

    def fits(self, other: Latents) -> bool:
        """Returns whether a VAE that makes these latents can take the place of one that makes the other ones."""
        has_same_shape = (self.channels, self.pixels) == (other.channels, other.pixels)
        names = {self.architecture, other.architecture}
        return has_same_shape and (len(names) == 1 or UNKNOWN_ARCHITECTURE in names)


class ModelInfo(FrozenModel):
    """What a model is called, what it can do, and its defaults for the fields that a request leaves open.

    `architecture` is what its LoRAs must be made for, None before the model is on disk; `loras` are applied unless a
    request gives them other weights; `vae` is used instead of the one in its files; `repository` and `revision` say
    where on the Hub it comes from. `memory_gb` and `download_gb` are in units of 10^9 bytes, None if unknown. `latents`
    are what a VAE must fit to be used instead of the model's own; None before the model is on disk.
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
    vae: str | None = None
    architecture: str | None = None
    repository: str | None = None
    revision: str | None = None
    licence: str | None = None
    gated: bool = False
    quantization: Quantization | None = None
    memory_gb: float | None = None
    download_gb: float | None = None
    latents: Latents | None = None


# The fields of a request that are filled in from the model when they are left open.
MODEL_DEFAULT_FIELDS = tuple(
    name
    for name, field in GenerationRequest.model_fields.items()
    if field.default is None and name in ModelInfo.model_fields
)


class ModelStatus(FrozenModel):
    """`received` of `size` bytes are on disk while a model downloads; when it is on disk, `size` are the bytes of its
    weights there. `deletable`: the studio downloaded it.

    `abilities` are what it can do, by their names for users. `loading`: a worker brings it into memory now.
    `has_picture`: its files on disk include a picture by its author.
    `runs_here` compares the bytes that its weights take in memory with the limits of the workers that are ready, of
    which the best one counts. Of a model on disk, the weights are counted in its files; of another, they follow from
    `memory_gb`. "yes": it runs at the full speed of the device. "slow": it runs, but parts of it have to wait in main
    memory, or a CPU computes with more than 2 GB of weights. "too large": it cannot be loaded. None while no worker is
    ready, and for a model of unknown size.
    """

    model: ModelInfo
    state: ModelState
    abilities: dict[str, bool] = Field(default_factory=dict)
    deletable: bool = False
    received: int | None = None
    size: int | None = None
    loading: bool = False
    runs_here: RunsHere | None = None
    has_picture: bool = False


class LoadProgress(FrozenModel):
    """How far a model or an adapter is loaded: `received` of `size` bytes while it downloads."""

    id: str
    doing: Literal["asking the Hub", "downloading", "loading", "done"]
    received: int | None = None
    size: int | None = None


class DownloadStatus(FrozenModel):
    """A download that goes on: `received` of `size` bytes are on disk, None while the Hub is asked for its files.

    `kind` is that of the resource, such as "model" or "lora", and `id` is the reference with which it was started.
    """

    kind: str
    id: str
    received: int | None = None
    size: int | None = None


class WildcardInfo(FrozenModel):
    """A text file with choices for prompts."""

    name: str = Field(description="Its name, which stands in a prompt between two underscores on each side.")


class RefusedFile(FrozenModel):
    """A file or folder in the models folder that cannot be used, by its path, and why.

    `kind` is that of the resources in its folder, such as "model" or "lora".
    """

    kind: str
    id: str
    problem: str


class WorkerMemory(FrozenModel):
    """What fits into the memory of a worker: bytes of a model that runs at full speed, and of one that runs at all.

    A weight takes `bytes_per_weight` there.
    """

    full_speed_bytes: float
    max_bytes: float
    bytes_per_weight: int


AdapterKind = Literal["lora", "embedding", "controlnet", "ip_adapter", "vae", "detector", "preprocessor"]
# An image encoder comes with IP-Adapters, and is no adapter of its own.
SourceKind = Literal[AdapterKind, "image_encoder"]


class AdapterSettings(FrozenModel):
    """The settings that a LoRA was made for, such as few steps; None where any will do."""

    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] | None = None
    guidance_scale: Annotated[float, Field(ge=1, le=30)] | None = None
    sampler: SamplerName | None = None


class AdapterInfo(FrozenModel):
    """A LoRA, a textual inversion, a ControlNet, an IP-Adapter, a VAE, a detector or a preprocessor on disk.

    `architecture` is what it was made for, or the kind of a detector or a preprocessor, which work with every model.
    `trigger` are the words of a prompt that make it work; `base_model` and `description` are what its author wrote into
    it; `settings` are what a LoRA for certain settings says of them; `preprocessor` is what makes control maps for a
    ControlNet, as its name says, or what a network makes; `control_types` are what the maps of a union ControlNet can
    show, and `control_modes` what can count more; `latents` are those of a VAE; `labels` are what a detector finds,
    such as "face"; `shared_passes` is false for a LoRA whose jobs have steps of their own, since it is not of low rank;
    `size` is in bytes; `deletable`: the studio downloaded it; `has_picture`: its author's picture is on disk too.
    """

    kind: AdapterKind
    id: str
    name: str
    architecture: str
    trigger: tuple[str, ...] = ()
    base_model: str | None = None
    description: str | None = None
    licence: str | None = None
    settings: AdapterSettings | None = None
    preprocessor: Preprocessor | None = None
    control_types: tuple[ControlType, ...] = ()
    control_modes: tuple[ControlMode, ...] = ()
    latents: Latents | None = None
    labels: tuple[str, ...] = ()
    shared_passes: bool = True
    size: int
    deletable: bool = False
    has_picture: bool = False


class UpscalerInfo(FrozenModel):
    """An upscaler: a network in a file on disk, or a resampling filter (`architecture` "filter").

    A network makes pictures `scale` times as large; filters make any size, and have None. `size` is in bytes, 0 for a
    filter; the other fields are those of AdapterInfo.
    """

    id: str
    name: str
    architecture: str
    scale: int | None = None
    description: str | None = None
    licence: str | None = None
    size: int = 0
    deletable: bool = False
    has_picture: bool = False


class ModelSource(FrozenModel):
    """What a worker needs to load a model. Paths are absolute.

    `path` is a folder in diffusers format, or one checkpoint file, whose configuration is in the folder `config`;
    `trailing` is whether its few steps must end where its training did. `pipeline` is a name in the table of families.
    `prediction_type` is what the denoiser predicts, and `zero_snr` whether its training began at pure noise; None where
    its configuration says it.
    `changed` is the time of the files' last change, in nanoseconds since 1970: a model with another time is another.
    """

    id: str
    name: str
    pipeline: str
    path: Path
    config: Path | None = None
    trailing: bool = False
    prediction_type: PredictionType | None = None
    zero_snr: bool | None = None
    quantization: Quantization | None = None
    revision: str | None = None
    changed: int = 0


class AdapterSource(FrozenModel):
    """What a worker needs to apply an adapter. With weight 0 it has no effect.

    `sha256` is of the whole file; `architecture`, `control_types`, `control_modes`, `latents` and `labels` as in
    AdapterInfo. `peft_config` is the text of the `adapter_config.json` beside a LoRA. The source of an IP-Adapter is
    followed by that of its image encoder.
    """

    kind: SourceKind
    id: str
    name: str
    path: Path
    sha256: str
    architecture: str
    control_types: tuple[ControlType, ...] = ()
    control_modes: tuple[ControlMode, ...] = ()
    latents: Latents | None = None
    labels: tuple[str, ...] = ()
    trigger: tuple[str, ...] = ()
    peft_config: str | None = None
    weight: float = 1.0


class UpscalerSource(FrozenModel):
    """What a worker needs to make pictures larger: the file of a network, or the name of a filter without one.

    `sha256` is of the whole file.
    """

    id: str
    name: str
    scale: int | None = None
    path: Path | None = None
    sha256: str | None = None


# The fields of a request that name upscalers.
UpscalerField = Literal["upscaler", "hires_upscaler"]
Upscalers = dict[UpscalerField, UpscalerSource]
