"""Everything that can go wrong and is worth telling.

ImageGenError
├── InvalidRequest          a field of a request is wrong
│   ├── UnknownModel
│   ├── UnusableModel
│   └── NotOnDisk
├── BadCatalogue            the owner's list of models is wrong
├── HubRefused              the Hub does not give what was asked for
├── NoRoom                  a download is larger than what is allowed, or than the disk
├── NotAllowed              only an administrator may do this
├── Stopped                 a download was ended before it was whole
├── Told                    what went wrong in another process
├── QueueFull               come back later
├── TooMuch                 this user has to wait
│   ├── TooManyJobs
│   └── TooManyRequests
├── KeyReused               the same Idempotency-Key for another request
├── NotFound                there is none, or it is somebody else's
│   ├── UnknownJob
│   ├── UnknownPicture
│   └── UnknownRoute
├── SignInRequired          nobody knows who asks
│   └── BadCredentials
├── NotAdmitted             known, and not let in
├── SignInUnavailable       whoever knows users cannot be asked
├── CrossSite               another web page asks in the user's name
├── WrongHost               asked for under a name that is not the studio's
├── TooLarge                more than the studio takes at once
├── Unsupported             another tool has this, and the studio does not
├── WasCancelled            there is no picture: somebody ended the job
└── JobFailed               the job was accepted, and could not be finished
    ├── WorkerDied
    ├── WorkerLost
    ├── WorkerUnavailable
    ├── ModelBroken
    ├── ModelTooLarge
    ├── PackageMissing
    ├── BadLatents
    ├── OutOfMemory
    └── Interrupted

Each error has a code for programs; its docstring is its message for people, filled in with the error's own data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
        self.field, self.problem = field, problem


class UnknownModel(InvalidRequest):
    """{field}: {problem}"""

    code = "unknown_model"

    def __init__(self, field: str, reference: str, known: Iterable[str]) -> None:
        names = ", ".join(known)
        kind = "model" if field == "model" else field
        place = f"a Hugging Face repository that was loaded before, or a name in the {kind} folder"
        super().__init__(
            field, f"there is no {shortened(reference)!r} here. It can be {names or 'no name yet'}, {place}"
        )


class UnusableModel(InvalidRequest):
    """{field}: {problem}"""

    code = "unusable_model"

    def __init__(self, reference: str, problem: str, field: str = "model") -> None:
        super().__init__(field, f"{shortened(reference)} cannot be used: {problem}")


class NotOnDisk(InvalidRequest):
    """{field}: {problem}"""

    code = "not_on_disk"

    def __init__(self, reference: str, field: str = "model") -> None:
        super().__init__(field, f"{shortened(reference)} is not on disk yet; load it first")


class BadCatalogue(ImageGenError):
    """The list of models in {file} is wrong: {problem}"""

    code = "bad_catalogue"


class HubRefused(ImageGenError):
    """{reference} cannot be had from the Hub: {problem}"""

    code = "hub_refused"

    def __init__(self, reference: str, problem: str) -> None:
        super().__init__(reference=reference, problem=problem)


class NoRoom(ImageGenError):
    """{reference} is {size} large; {problem}"""

    code = "no_room"

    def __init__(self, reference: str, size: int, problem: str) -> None:
        super().__init__(reference=reference, size=in_words(size), problem=problem)


class NotAllowed(ImageGenError):
    """Only an administrator of this studio may {deed}."""

    code = "not_allowed"

    def __init__(self, deed: str) -> None:
        super().__init__(deed=deed)


class Stopped(ImageGenError):
    """The download was stopped. What came so far is kept, and goes on from there the next time."""

    code = "stopped"


class QueueFull(ImageGenError):
    """The queue is full: {waiting} jobs are waiting. Please try again in {retry_after} seconds."""

    code = "queue_full"

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(waiting=waiting, retry_after=retry_after)
        self.retry_after = retry_after


class TooMuch(ImageGenError):
    """Too much at once. Please try again in {retry_after} seconds."""

    code = "too_much"

    def __init__(self, retry_after: int, **data: object) -> None:
        super().__init__(retry_after=retry_after, **data)
        self.retry_after = retry_after


class TooManyJobs(TooMuch):
    """You have {waiting} jobs waiting, and may have {most}. Please try again in {retry_after} seconds."""

    code = "too_many_jobs"


class TooManyRequests(TooMuch):
    """That were more than {most} requests in a minute. Please try again in {retry_after} seconds."""

    code = "too_many_requests"


class KeyReused(ImageGenError):
    """This Idempotency-Key was used before, for another request."""

    code = "key_reused"


class NotFound(ImageGenError):
    """There is nothing here."""

    code = "not_found"


class UnknownJob(NotFound):
    """There is no job {job_id}."""

    code = "unknown_job"

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id=shortened(job_id))


class UnknownPicture(NotFound):
    """There is no picture {picture_id}."""

    code = "unknown_picture"

    def __init__(self, picture_id: str) -> None:
        super().__init__(picture_id=shortened(picture_id))


class UnknownRoute(NotFound):
    """There is nothing here."""


class SignInRequired(ImageGenError):
    """Sign in first: with 'Authorization: Bearer' and {what}, or in the browser."""

    code = "sign_in_required"

    def __init__(self, what: str) -> None:
        super().__init__(what=what)


class BadCredentials(SignInRequired):
    """This is not valid, or not any more: {what}."""

    code = "bad_credentials"


class NotAdmitted(ImageGenError):
    """{name} is not among those who may use this studio."""

    code = "not_admitted"

    def __init__(self, name: str) -> None:
        super().__init__(name=name)


class SignInUnavailable(ImageGenError):
    """Who you are cannot be found out just now. Please try again in {retry_after} seconds."""

    code = "sign_in_unavailable"

    def __init__(self, retry_after: int = 10) -> None:
        super().__init__(retry_after=retry_after)
        self.retry_after = retry_after


class CrossSite(ImageGenError):
    """Another web site asked for this. If it is yours, name it in the setting 'origins'."""

    code = "cross_site"


class WrongHost(ImageGenError):
    """The studio is not known by this name. If it is yours, name it in the setting 'hosts'."""

    code = "wrong_host"


class TooLarge(ImageGenError):
    """This is more than the studio takes at once, which is {most}."""

    code = "too_large"

    def __init__(self, most: int) -> None:
        super().__init__(most=in_words(most))


class Unsupported(ImageGenError):
    """{what} cannot be done here."""

    code = "unsupported"

    def __init__(self, what: str) -> None:
        super().__init__(what=what)


class WasCancelled(ImageGenError):
    """The job was cancelled."""

    code = "cancelled"


class JobFailed(ImageGenError):
    """The picture could not be made. The studio's log says why."""

    code = "job_failed"


class WorkerDied(JobFailed):
    """The worker stopped while it made this picture, and has been started again. Please try once more."""

    code = "worker_died"


class Told(ImageGenError):
    """{message}"""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message=message)
        self.code = code  # type: ignore[misc] # That of the error in another process.


class WorkerLost(JobFailed):
    """The worker stopped meanwhile. Please try once more."""

    code = "worker_lost"


class WorkerUnavailable(JobFailed):
    """The worker cannot be started: {reason}"""

    code = "worker_unavailable"

    def __init__(self, reason: str) -> None:
        super().__init__(reason=reason)


class ModelBroken(JobFailed):
    """The model {model} cannot be loaded: {problem}"""

    code = "model_broken"

    def __init__(self, model: str, problem: str) -> None:
        super().__init__(model=model, problem=problem)


class ModelTooLarge(JobFailed):
    """{model} needs {size} of memory, and may have {most} here (memory_gb)."""

    code = "model_too_large"

    def __init__(self, model: str, size: int, most: int) -> None:
        super().__init__(model=model, size=in_words(size), most=in_words(most))


class PackageMissing(JobFailed):
    """{what} needs the Python package {package}, which is not installed here."""

    code = "package_missing"

    def __init__(self, what: str, package: str) -> None:
        super().__init__(what=what, package=package)


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


@contextmanager
def of_field(field: str) -> Iterator[None]:
    """What is wrong inside is wrong with this field of the request."""
    try:
        yield
    except InvalidRequest as error:
        ImageGenError.__init__(error, field=field, problem=error.problem)
        error.field = field
        raise


def shortened(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def in_words(size: int) -> str:
    """Bytes as people read them, in units of 10^9, 10^6 or 10^3."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B"
