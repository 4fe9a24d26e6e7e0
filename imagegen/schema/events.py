"""The events of a job, from queued to its last."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    TypeAdapter,
)

from imagegen.schema.base import FrozenModel
from imagegen.schema.receipt import Picture


class Queued(FrozenModel):
    """The job waits; `position` 0 is next. `warming_up`: the worker is not ready yet."""

    type: Literal["queued"] = "queued"
    seq: int = 0
    position: int
    warming_up: bool = False


class Started(FrozenModel):
    type: Literal["started"] = "started"
    seq: int = 0


class Loading(FrozenModel):
    """The job's turn has come; its model is being loaded."""

    type: Literal["loading"] = "loading"
    seq: int = 0
    model: str


class Progress(FrozenModel):
    """How far a job is: after `step` of `steps` of its stage `stage` of `stages`. All numbers start at 1.

    `seconds_left` is for the stage. `preview` is a small JPEG in base64, for clients that asked for previews.
    """

    type: Literal["progress"] = "progress"
    seq: int = 0
    step: int
    steps: int
    stage: int = 1
    stages: int = 1
    seconds_left: float | None = None
    preview: str | None = None

    @property
    def fraction(self) -> float:
        """The share of the whole job that is done, in 0..1. Each stage counts the same."""
        return (self.stage - 1 + self.step / self.steps) / self.stages


class Result(FrozenModel):
    type: Literal["result"] = "result"
    seq: int = 0
    pictures: tuple[Picture, ...]
    latency_ms: int
    vram_peak_mb: float | None = None
    nsfw_detected: bool | None = None

    @property
    def is_finished(self) -> bool:
        """Whether all steps of the pictures were made; False for a job that was ended early."""
        return all(picture.receipt.unfinished_at_step is None for picture in self.pictures)


class Failed(FrozenModel):
    type: Literal["error"] = "error"
    seq: int = 0
    code: str
    message: str


class Cancelled(FrozenModel):
    type: Literal["cancelled"] = "cancelled"
    seq: int = 0


Event = Annotated[Queued | Started | Loading | Progress | Result | Failed | Cancelled, Field(discriminator="type")]


EVENT_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)


FinalEvent = Result | Failed | Cancelled
FINAL_EVENTS = (Result, Failed, Cancelled)
