"""Errors of accepted jobs and of the workers that run them."""

from __future__ import annotations

from imagegen.errors.base import ImageGenError


class JobCancelled(ImageGenError):
    """The job was cancelled."""

    code, status = "cancelled", 409


class NothingToKeep(ImageGenError):
    """The job has no picture to keep: {reason}."""

    code, status = "nothing_to_keep", 409

    def __init__(self, reason: str) -> None:
        super().__init__(reason=reason)


class JobFailed(ImageGenError):
    """The picture could not be generated. The studio's log has the reason."""

    code, status = "job_failed", 500


class WorkerDied(JobFailed):
    """The worker stopped while it generated this picture, and was restarted. Please try again."""

    code = "worker_died"


class WorkerHung(JobFailed):
    """The worker made no progress with this picture, and was restarted. Please try again."""

    code = "worker_hung"


class WorkerLost(JobFailed):
    """The worker stopped before it finished this request. Please try again."""

    code, status = "worker_lost", 503


class WorkerUnavailable(JobFailed):
    """The worker is unavailable: {reason}"""

    code, status = "worker_unavailable", 503

    def __init__(self, reason: str) -> None:
        super().__init__(reason=reason)


class NonFiniteLatents(JobFailed):
    """The latents became infinite or NaN at step {step}, so no picture could be generated.
    Another sampler or a lower guidance_scale may help.
    """

    code = "nan_output"

    def __init__(self, step: int) -> None:
        super().__init__(step=step)


class UpscalingFailed(JobFailed):
    """The upscaler computed infinite numbers or NaN, so the picture could not be made larger. Another one may work."""

    code = "upscaling_failed"


class OutOfMemory(JobFailed):
    """There was not enough memory for this picture. A smaller width, height or batch_size may help."""

    code = "out_of_memory"


class InterruptedByShutdown(JobFailed):
    """The studio was shut down while it generated this picture. Please try again."""

    code, status = "interrupted", 503


class RemoteError(ImageGenError):
    """{message}"""

    code, status = "job_failed", 500

    def __init__(self, code: str, message: str) -> None:
        """`code` and `message` are those of the original error; the status is that of its class."""
        super().__init__(message=message)
        self.code, self.status = code, self.get_status(code)  # type: ignore[misc]
