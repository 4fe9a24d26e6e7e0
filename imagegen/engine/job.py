"""A job in the engine: what it is made of, how it is controlled, and what comes out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image

from imagegen.engine.adapters.merge import NO_ADAPTERS, AdapterSet
from imagegen.engine.batching.collate import Arguments
from imagegen.engine.step_cache import StepCache
from imagegen.schema.events import Cancelled, Loading, Progress
from imagegen.schema.models import AdapterSource, ModelSource, Upscalers
from imagegen.schema.receipt import Receipt, RequestedAs
from imagegen.schema.request import GenerationRequest


@dataclass(frozen=True)
class JobInputs:
    """Everything that decides a picture: a request without open fields, its model and adapters, and its input pictures.

    `model` is None for a request that paints nothing. `input_images` are RGB pictures, or RGBA pictures to make larger,
    by the request's field that names them, and `upscalers` are by field too. `model_sha256` is of the model's weights.
    `requested` is for the receipts. `preview_decoder` is an AutoencoderTiny for the model's latents, which no picture
    depends on.
    """

    request: GenerationRequest
    model: ModelSource | None
    adapters: Sequence[AdapterSource] = ()
    input_images: Mapping[str, Image.Image] = field(default_factory=dict)
    model_sha256: str | None = None
    requested: RequestedAs | None = None
    upscalers: Upscalers = field(default_factory=dict)
    preview_decoder: AdapterSource | None = None


@dataclass(frozen=True)
class JobControl:
    """Flags that other threads set. `wants_previews` is set while a client watches the job.

    `finish_requested` ends the job after its next step, with the pictures as they are then.
    """

    cancelled: threading.Event
    wants_previews: threading.Event
    finish_requested: threading.Event = field(default_factory=threading.Event)

    def raise_if_cancelled(self) -> None:
        """Raises JobInterrupted."""
        if self.cancelled.is_set():
            raise JobInterrupted


class JobInterrupted(Exception):
    """The job, or the loading of a model, was cancelled."""


@dataclass
class EngineJob:
    """A job that waits or runs in the engine. `adapters` and `step_cache` are those of its denoiser's next call.

    `extend_call` returns the arguments that the call gets besides its own.
    """

    model: ModelSource | None
    run: Callable[[], None]
    control: JobControl
    adapters: AdapterSet = NO_ADAPTERS
    step_cache: StepCache = field(default_factory=StepCache)
    extend_call: Callable[[Arguments], Mapping[str, object]] = lambda _: {}


@dataclass(frozen=True)
class EngineResult:
    """Pictures, and a receipt for each. `vram_peak_mb` is in MiB, and None without a CUDA device."""

    images: list[Image.Image]
    receipts: list[Receipt]
    latency_ms: int
    vram_peak_mb: float | None


EngineEvent = Loading | Progress | Cancelled | EngineResult


class EventEmitter:
    """Emits the events of one job up to its last one. Used by one thread."""

    def __init__(self, emit: Callable[[EngineEvent], None]) -> None:
        self._emit, self.has_ended = emit, False

    def emit(self, event: EngineEvent) -> None:
        if not self.has_ended:
            self.has_ended = isinstance(event, Cancelled | EngineResult)
            self._emit(event)
