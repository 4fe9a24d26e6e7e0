"""What is said between the web process and its worker: orders one way, reports the other; as JSON, one a line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from imagegen.info import AdapterSource, ModelSource
from imagegen.schema import Event, GenerationRequest, Message
from imagegen.settings import Compile, LowMemory


class Load(Message):
    """The first thing a worker hears: the model to begin with, and how to live. Paths are absolute.

    The budgets are for models, in units of 10^9 bytes; None leaves them to what the machine has.
    """

    type: Literal["load"] = "load"
    model: ModelSource
    data_dir: Path
    device: str
    gpu_memory_gb: float | None = None
    memory_gb: float | None = None
    low_memory: LowMemory = "auto"
    exact: bool = False
    compile: Compile = "auto"
    log_format: str
    log_dir: Path | None = None


class Run(Message):
    """A request that leaves nothing open, with all that it is made with."""

    type: Literal["run"] = "run"
    job_id: str
    request: GenerationRequest
    model: ModelSource
    adapters: tuple[AdapterSource, ...] = ()
    previews: bool = False


class Cancel(Message):
    type: Literal["cancel"] = "cancel"
    job_id: str


class Previews(Message):
    type: Literal["previews"] = "previews"
    job_id: str
    wanted: bool


class Warm(Message):
    """Brings a model to the device, so that the next who asks for it need not wait. Answered by Warmed."""

    type: Literal["warm"] = "warm"
    model: ModelSource


class Release(Message):
    """Frees the memory of a model that is not in use."""

    type: Literal["release"] = "release"
    model_id: str


class WorkerReady(Message):
    """The first model is loaded; jobs run from now on. The rest is what receipts will say."""

    type: Literal["ready"] = "ready"
    device: str
    dtype: str
    versions: dict[str, str] = Field(default_factory=dict)


class WorkerGone(Message):
    """The engine is being started anew; or, with a `reason`, there is no hope that it can be.

    It comes before the last events of the jobs that were lost with it.
    """

    type: Literal["gone"] = "gone"
    reason: str | None = None


class JobEvent(Message):
    """What happened to a job. Every job that was submitted gets a last event, also when its engine dies."""

    type: Literal["job"] = "job"
    job_id: str
    event: Event


class Held(Message):
    """Which models are in memory, the one used last at the end, and how many bytes they take, by device."""

    type: Literal["held"] = "held"
    models: tuple[str, ...]
    memory: dict[str, int] = Field(default_factory=dict)


class Warmed(Message):
    """A model is on the device; or `code` and `message` say why not."""

    type: Literal["warmed"] = "warmed"
    model_id: str
    code: str | None = None
    message: str | None = None


Order = Annotated[Load | Run | Cancel | Previews | Warm | Release, Field(discriminator="type")]
ORDER: TypeAdapter[Order] = TypeAdapter(Order)
Report = Annotated[WorkerReady | WorkerGone | JobEvent | Held | Warmed, Field(discriminator="type")]
REPORT: TypeAdapter[Report] = TypeAdapter(Report)


def line(message: Message) -> bytes:
    return message.model_dump_json().encode() + b"\n"
