"""Everything that can go wrong and is worth telling.

ImageGenError
├── InvalidRequest          a field of a request is wrong
├── QueueFull               come back later
├── UnknownJob              no such job
└── JobFailed               the job was accepted, and could not be finished
    ├── WorkerDied
    ├── WorkerUnavailable
    ├── BadLatents
    ├── OutOfMemory
    └── Interrupted

Each error has a code for programs; its docstring is its message for people, filled in with the error's own data.
"""

from __future__ import annotations

from typing import ClassVar


class ImageGenError(Exception):
    """Something went wrong in the studio."""

    code: ClassVar[str] = "error"

    def __init__(self, **data: object) -> None:
        self.data = data
        template = " ".join((type(self).__doc__ or "").split())
        super().__init__(template.format(**data))


class InvalidRequest(ImageGenError):
    """{field}: {problem}"""

    code = "invalid_request"

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field=field, problem=problem)
        self.field = field


class QueueFull(ImageGenError):
    """The queue is full: {waiting} jobs are waiting. Please try again in {retry_after} seconds."""

    code = "queue_full"

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(waiting=waiting, retry_after=retry_after)
        self.retry_after = retry_after


class UnknownJob(ImageGenError):
    """There is no job {job_id}."""

    code = "unknown_job"

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id=job_id)


class JobFailed(ImageGenError):
    """The picture could not be made. The studio's log says why."""

    code = "job_failed"


class WorkerDied(JobFailed):
    """The worker stopped while it made this picture, and has been started again. Please try once more."""

    code = "worker_died"


class WorkerUnavailable(JobFailed):
    """The worker cannot be started: {reason}"""

    code = "worker_unavailable"

    def __init__(self, reason: str) -> None:
        super().__init__(reason=reason)


class BadLatents(JobFailed):
    """The model's numbers became infinite or undefined at step {step}, so there is no picture.
    Another sampler or a lower guidance_scale may help.
    """

    code = "nan_output"

    def __init__(self, step: int) -> None:
        super().__init__(step=step)


class OutOfMemory(JobFailed):
    """There was not enough memory for this picture. A smaller width, height or batch_size may help."""

    code = "out_of_memory"


class Interrupted(JobFailed):
    """The studio was stopped while it made this picture. Please try once more."""

    code = "interrupted"
