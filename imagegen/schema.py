"""What crosses a boundary: a request, the events of its job, the receipt of a picture, what a model can do.

The fields of GenerationRequest are the only source of names, ranges, defaults and help texts. Forms and endpoints
are made from them.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationInfo,
    field_validator,
    model_validator,
)

PROMPT_LIMIT = 4000
SEED_LIMIT = 2**32 - 1
# How many one request may ask for.
PICTURE_LIMIT = 8
LORA_LIMIT = 8

SamplerName = Literal[
    "Euler",
    "Euler a",
    "DDIM",
    "DPM++ 2M",
    "DPM++ 2M Karras",
    "DPM++ 2M SDE",
    "DPM++ 2M SDE Karras",
    "UniPC",
    "LCM",
]


def number(value: Any) -> Any:
    if isinstance(value, str | bool):
        raise ValueError("must be a number")
    return value


def readable(text: str) -> str:
    """Tabs and line breaks are fine; what no keyboard types is not."""
    for letter in text:
        if unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\t\n\r":
            raise ValueError(f"must not contain the character U+{ord(letter):04X}")
    return text


def multiple_of_8(value: int) -> int:
    if value % 8:
        raise ValueError(f"must be a multiple of 8, such as {value - value % 8}")
    return value


NUMBER = BeforeValidator(number)
Text = Annotated[str, AfterValidator(readable)]
Prompt = Annotated[str, Field(min_length=1, max_length=PROMPT_LIMIT), AfterValidator(readable)]
# A name, a repository as `owner/name`, or a file in either.
Reference = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(readable)]
Strength = Annotated[float, Field(gt=0, le=1), NUMBER]
STRENGTH = "How far to move away from the picture: 1 forgets it."
Side = Annotated[int, Field(ge=64, le=2048), AfterValidator(multiple_of_8), NUMBER]


class Message(BaseModel):
    """Immutable, and without room for fields that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class LoraUse(Message):
    """One LoRA of a stack. At weight 0 the picture is the one without it, to the pixel."""

    lora: Reference = Field(description="A name from the list of LoRAs, or a Hugging Face repository, with a file.")
    weight: Annotated[float, Field(ge=-4, le=4), NUMBER] = Field(1.0, description="How strongly it works.")


class TextToImage(Message):
    """What decides a picture that is made of words. What is left open is filled in from the model."""

    prompt: Prompt = Field(description="What to paint. (Words in brackets:1.3) weigh more.")
    negative_prompt: Text = Field("", max_length=PROMPT_LIMIT, description="What to keep out of the picture.")
    width: Side | None = Field(None, description="Pixels, a multiple of 8.")
    height: Side | None = Field(None, description="Pixels, a multiple of 8.")
    steps: Annotated[int, Field(ge=1, le=150), NUMBER] | None = Field(None, description="More steps: finer, slower.")
    guidance_scale: Annotated[float, Field(ge=1, le=30), NUMBER] | None = Field(
        None, description="How closely to follow the prompt; at 1 the negative prompt is not heard."
    )
    sampler: SamplerName | None = Field(None, description="How noise becomes a picture.")
    seed: Annotated[int, Field(ge=0, le=SEED_LIMIT), NUMBER] | None = Field(
        None, description="The same seed gives the same picture. Empty: a new one each time."
    )
    batch_size: Annotated[int, Field(ge=1, le=PICTURE_LIMIT), NUMBER] = Field(
        1, description="How many pictures; each takes the seed after the one before."
    )
    clip_skip: Annotated[int, Field(ge=0, le=2), NUMBER] = Field(
        0, description="How many of the text encoder's last layers to leave out."
    )
    model: Reference | None = Field(
        None, description="A name from the list of models, a Hugging Face repository, or a file in the models folder."
    )
    loras: tuple[LoraUse, ...] = Field(
        (), max_length=LORA_LIMIT, description='LoRAs to put on, such as [{"lora": "neon", "weight": 0.8}].'
    )
    embeddings: tuple[Reference, ...] = Field(
        (), max_length=8, description="Textual inversions to know, each called up by its word in a prompt."
    )
    more_prompts: tuple[Prompt, ...] = Field(
        (),
        max_length=PICTURE_LIMIT - 1,
        description=f"Further prompts: each gives pictures of its own in the same batch, up to {PICTURE_LIMIT} in all.",
    )

    step_cache: Annotated[float, Field(ge=0, le=1), NUMBER] = Field(
        0.0,
        description="Guess steps that the last ones foretell, as long as this much change adds up: faster, and coarser."
        " At 0 each step is computed.",
    )

    @field_validator("more_prompts")
    @classmethod
    def gives_so_many_pictures(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        each = info.data.get("batch_size", 1)
        most = PICTURE_LIMIT // each - 1
        if len(value) > most:
            allowed = f"must have at most {most} entries" if most else "cannot be used"
            raise ValueError(f"{allowed} with a batch_size of {each}: a request gives up to {PICTURE_LIMIT} pictures")
        return value


class GenerationRequest(TextToImage):
    """Everything that decides a picture, and nothing else."""

    init_image: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = Field(
        None, description="The picture to start from."
    )
    strength: Strength | None = Field(None, description=STRENGTH)

    @model_validator(mode="after")
    def strength_needs_an_image(self) -> Self:
        if self.strength is not None and self.init_image is None:
            raise ValueError("strength needs an init_image")
        return self

    @property
    def prompts(self) -> tuple[str, ...]:
        """That of each picture, in their order."""
        return tuple(prompt for prompt in (self.prompt, *self.more_prompts) for _ in range(self.batch_size))


class UsedLora(LoraUse):
    """`sha256` is of its whole file."""

    sha256: str


class UsedEmbedding(Message):
    embedding: str
    sha256: str


class Receipt(Message):
    """All that decided one picture. The same receipt gives the same picture.

    `cached` is whether it was made before, for the same request; the one inside its file says how it was then.
    """

    prompt: str
    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance_scale: float
    sampler: str
    seed: int
    clip_skip: int
    init_image: str | None
    strength: float | None
    model_id: str
    model_revision: str | None = None
    loras: tuple[UsedLora, ...] = ()
    embeddings: tuple[UsedEmbedding, ...] = ()
    quantization: str | None = None
    device: str
    dtype: str
    versions: dict[str, str]
    step_cache: float = 0.0
    cached: bool = False


class Picture(Message):
    """A finished picture in the image store."""

    id: str
    receipt: Receipt


class Queued(Message):
    """`position` 0 is next. While the worker loads its model, everybody waits."""

    type: Literal["queued"] = "queued"
    seq: int = 0
    position: int
    warming_up: bool = False


class Started(Message):
    type: Literal["started"] = "started"
    seq: int = 0


class Loading(Message):
    """The job's turn has come, and its model is brought to the device first."""

    type: Literal["loading"] = "loading"
    seq: int = 0
    model: str


class Progress(Message):
    """`preview` is a small JPEG in base64, for those who asked for previews."""

    type: Literal["progress"] = "progress"
    seq: int = 0
    step: int
    steps: int
    seconds_left: float | None = None
    preview: str | None = None

    @property
    def share(self) -> float:
        return self.step / self.steps


class Result(Message):
    type: Literal["result"] = "result"
    seq: int = 0
    pictures: tuple[Picture, ...]
    latency_ms: int
    vram_peak_mb: float | None = None
    nsfw_detected: bool | None = None


class Failed(Message):
    type: Literal["error"] = "error"
    seq: int = 0
    code: str
    message: str


class Cancelled(Message):
    type: Literal["cancelled"] = "cancelled"
    seq: int = 0


Event = Annotated[Queued | Started | Loading | Progress | Result | Failed | Cancelled, Field(discriminator="type")]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)
LAST_EVENTS = (Result, Failed, Cancelled)


class User(Message):
    """Who asks. Jobs take turns between users, and belong to them; `name` is for people to read.

    An administrator may download and delete what all others use.
    """

    id: str
    name: str = ""
    is_administrator: bool = False
