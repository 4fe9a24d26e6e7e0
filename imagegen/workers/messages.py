"""Messages between the web process and its workers: commands to a worker, reports from it; one JSON object per line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from imagegen.schema.base import FrozenModel
from imagegen.schema.events import Event
from imagegen.schema.models import AdapterSource, ModelSource, Upscalers, WorkerMemory
from imagegen.schema.receipt import RequestedAs
from imagegen.schema.request import GenerationRequest
from imagegen.settings import CompileMode, LowMemoryMode


class WorkerConfig(FrozenModel):
    """The first message to a worker: its name, its device, and the model to load first. Paths are absolute.

    `name` tells several workers apart, such as "cuda:1" or "cpu". `device` is "auto" or a torch device type;
    `gpu_index` is the number of the GPU as CUDA counts them, None for the default one. `gpu_memory_gb` and `memory_gb`
    limit the memory for models, in units of 10^9 bytes; None derives the limit from the machine. `memory_gb` is shared
    by the `worker_count` workers on this machine. `worker_memory_gb` limits all memory of a worker on the CPU. A worker
    that is silent for `heartbeat_timeout` seconds, or makes no progress for `step_timeout` seconds, hangs.
    """

    type: Literal["load"] = "load"
    name: str
    model: ModelSource
    data_dir: Path
    device: str
    gpu_index: int | None = None
    worker_count: int = 1
    gpu_memory_gb: float | None = None
    memory_gb: float | None = None
    worker_memory_gb: float | None = None
    low_memory: LowMemoryMode = "auto"
    exact: bool = False
    compile: CompileMode = "auto"
    heartbeat_timeout: float = 30.0
    step_timeout: float = 600.0
    log_format: str
    log_file: Path | None = None


class JobOrder(FrozenModel):
    """A job to run: a request with all fields filled in, the files of its model and adapters, and what its receipts say
    of what was requested. `model` is None for a job that needs none; `upscalers` are by the request's field.
    """

    type: Literal["run"] = "run"
    job_id: str
    request: GenerationRequest
    model: ModelSource | None
    model_sha256: str | None = None
    adapters: tuple[AdapterSource, ...] = ()
    upscalers: Upscalers = Field(default_factory=dict)
    requested: RequestedAs | None = None
    preview_decoder: AdapterSource | None = None
    wants_previews: bool = False


class CancelJob(FrozenModel):
    """Ends a job at its next step, and at once while its model is read."""

    type: Literal["cancel"] = "cancel"
    job_id: str


class FinishJob(FrozenModel):
    """Ends a job after its next step, with the pictures as they are then."""

    type: Literal["finish"] = "finish"
    job_id: str


class SetPreviews(FrozenModel):
    """Switches the previews of a job on or off."""

    type: Literal["previews"] = "previews"
    job_id: str
    is_wanted: bool


class WarmModel(FrozenModel):
    """Loads a model onto the device before a job needs it. The worker replies with ModelWarmed."""

    type: Literal["warm"] = "warm"
    warm_id: str
    model: ModelSource


class CancelWarm(FrozenModel):
    """Abandons the loading of a model as soon as that is safe."""

    type: Literal["cancel warm"] = "cancel warm"
    warm_id: str


class MakeMap(FrozenModel):
    """Makes the control map of an input picture, with a preprocessor that is a network, and those that it needs.

    The worker replies with MapMade.
    """

    type: Literal["map"] = "map"
    map_id: str
    image_id: str
    networks: tuple[AdapterSource, ...]


class ReleaseModel(FrozenModel):
    """Frees the memory of a model that no job uses."""

    type: Literal["release"] = "release"
    model_id: str


class WorkerReport(FrozenModel):
    """What all reports have in common: the name of the worker that sent it."""

    worker: str


class WorkerReady(WorkerReport):
    """The worker has loaded its first model and can run jobs.

    Receipts contain `device`, `dtype` and `versions`. `memory` says which models fit; None if that is unknown.
    """

    type: Literal["ready"] = "ready"
    device: str
    dtype: str
    versions: dict[str, str] = Field(default_factory=dict)
    memory: WorkerMemory | None = None


class WorkerGone(WorkerReport):
    """The worker has stopped. Without a `reason` it is being restarted; with one it will not come back.

    It comes before the last events of the jobs that were lost with it.
    """

    type: Literal["gone"] = "gone"
    reason: str | None = None


class Heartbeat(WorkerReport):
    """The worker is alive. It sends one each second, also while it loads or computes. It goes no further than its
    LocalWorker.
    """

    type: Literal["heartbeat"] = "heartbeat"


class JobEvent(WorkerReport):
    """An event of a job. Every submitted job gets a final event, also when its worker dies."""

    type: Literal["job"] = "job"
    job_id: str
    event: Event


class ModelsInMemory(WorkerReport):
    """The ids of the models in the worker's memory, the one used last at the end, and their bytes by device type."""

    type: Literal["held"] = "held"
    models: tuple[str, ...]
    bytes_by_device: dict[str, int] = Field(default_factory=dict)


class ModelWarmed(WorkerReport):
    """The reply to WarmModel: the model is on the device; or `code` and `message` say why it could not be loaded."""

    type: Literal["warmed"] = "warmed"
    warm_id: str
    code: str | None = None
    message: str | None = None


class MapMade(WorkerReport):
    """The reply to MakeMap: the id of the stored map; or `code` and `message` say why it could not be made."""

    type: Literal["map made"] = "map made"
    map_id: str
    image_id: str | None = None
    code: str | None = None
    message: str | None = None


Command = Annotated[
    WorkerConfig | JobOrder | CancelJob | FinishJob | SetPreviews | WarmModel | CancelWarm | MakeMap | ReleaseModel,
    Field(discriminator="type"),
]
COMMAND_ADAPTER: TypeAdapter[Command] = TypeAdapter(Command)
Report = Annotated[
    WorkerReady | WorkerGone | Heartbeat | JobEvent | ModelsInMemory | ModelWarmed | MapMade,
    Field(discriminator="type"),
]
REPORT_ADAPTER: TypeAdapter[Report] = TypeAdapter(Report)


def encode_line(message: FrozenModel) -> bytes:
    """Returns a message as one line of JSON in UTF-8."""
    return message.model_dump_json().encode() + b"\n"
