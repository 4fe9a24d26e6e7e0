"""What the reports of the workers say about each of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from imagegen.schema.models import WorkerMemory
from imagegen.workers.base import WorkerState
from imagegen.workers.messages import ModelsInMemory, Report, WorkerGone, WorkerReady


@dataclass
class WorkerStatus:
    """What is known of one worker.

    `problem` says why it is unavailable. `info` is its last WorkerReady, None while it is not ready. `models` are the
    ids of the models in its memory. `model_by_job` has the model of each job that runs there, by the job's id; None for
    a job that needs none.
    """

    name: str
    state: WorkerState = "warming up"
    problem: str = ""
    info: WorkerReady | None = None
    models: tuple[str, ...] = ()
    model_by_job: dict[str, str | None] = field(default_factory=dict)

    def has_model(self, model_id: str | None) -> bool:
        """Whether the model is in memory there, or is being loaded for a job. None stands for no model."""
        return model_id is None or model_id in self.models or model_id in self.model_by_job.values()

    def reset(self, state: WorkerState, problem: str = "") -> None:
        """Forgets a worker that has stopped. Its jobs stay until they get their final events."""
        self.state, self.problem, self.info, self.models = state, problem, None, ()


class WorkerRegistry:
    """The state, models and jobs of each worker, by its name. `handle_report` keeps it up to date."""

    def __init__(self, names: Iterable[str]) -> None:
        self.statuses = {name: WorkerStatus(name) for name in names}

    @property
    def state(self) -> WorkerState:
        """Ready when any worker is ready; unavailable when all of them are."""
        states = set(self.states.values())
        return next((state for state in ("ready", "warming up") if state in states), "unavailable")

    @property
    def states(self) -> dict[str, WorkerState]:
        return {name: status.state for name, status in self.statuses.items()}

    @property
    def problem(self) -> str:
        """Why workers are unavailable, with their names when there are several workers."""
        problems = {name: status.problem for name, status in self.statuses.items() if status.problem}
        if len(self.statuses) == 1:
            return "".join(problems.values())
        return " ".join(f"{name}: {problem}" for name, problem in problems.items())

    def list_ready(self) -> list[WorkerStatus]:
        return [status for status in self.statuses.values() if status.state == "ready"]

    def list_infos(self) -> list[WorkerReady]:
        """Device, dtype and versions of each worker that is ready."""
        return [status.info for status in self.list_ready() if status.info is not None]

    def list_memories(self) -> list[WorkerMemory]:
        """What fits into the memory of each worker that is ready."""
        return [info.memory for info in self.list_infos() if info.memory is not None]

    def list_models(self) -> set[str]:
        """The ids of the models in the memory of any worker."""
        return {model_id for status in self.statuses.values() for model_id in status.models}

    def choose_for_loading(self, model_id: str) -> str:
        """The name of the ready worker that should load a model: one that has it, else the one with the least to do.

        Raises ValueError when no worker is ready.
        """
        best = min(
            self.list_ready(),
            key=lambda status: (not status.has_model(model_id), len(status.model_by_job), len(status.models)),
        )
        return best.name

    def add_job(self, worker: str, job_id: str, model_id: str | None) -> None:
        self.statuses[worker].model_by_job[job_id] = model_id

    def remove_job(self, job_id: str) -> None:
        """Does nothing for a job that no worker has."""
        for status in self.statuses.values():
            status.model_by_job.pop(job_id, None)

    def handle_report(self, report: Report) -> None:
        status = self.statuses[report.worker]
        match report:
            case WorkerReady():
                status.state, status.info = "ready", report
            case WorkerGone(reason=None):
                status.reset("warming up")
            case WorkerGone(reason=str(reason)):
                status.reset("unavailable", reason)
            case ModelsInMemory():
                status.models = report.models
