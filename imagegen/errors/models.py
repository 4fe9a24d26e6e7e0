"""Errors of models and adapters: their names, their files, downloads, and loading them."""

from __future__ import annotations

from collections.abc import Iterable

from imagegen.errors.base import ImageGenError
from imagegen.errors.jobs import JobFailed
from imagegen.errors.requests import InvalidRequest
from imagegen.text import format_bytes, truncate


class UnknownModel(InvalidRequest):
    """{field}: {problem}"""

    code, status = "unknown_model", 404

    def __init__(self, field: str, reference: str, known_ids: Iterable[str]) -> None:
        names = ", ".join(known_ids)
        kind = "model" if field == "model" else field
        other_sources = f"a Hugging Face repository that was loaded before, or a name in the {kind} folder"
        super().__init__(
            field, f"there is no {truncate(reference)!r} here. It can be {names or 'no name yet'}, {other_sources}"
        )


class UnusableModel(InvalidRequest):
    """{field}: {problem}"""

    code, status = "unusable_model", 400

    def __init__(self, reference: str, problem: str, field: str = "model") -> None:
        super().__init__(field, f"{truncate(reference)} cannot be used: {problem}")
        self.reference, self.reason = reference, problem


class TokensUnknown(InvalidRequest):
    """{field}: {problem}"""

    code, status = "tokens_unknown", 404

    def __init__(self, reference: str) -> None:
        super().__init__("model", f"{truncate(reference)} has no tokenizer with which a prompt can be counted")


class NotOnDisk(InvalidRequest):
    """{field}: {problem}"""

    code, status = "not_on_disk", 409

    def __init__(self, reference: str, field: str = "model") -> None:
        super().__init__(field, f"{truncate(reference)} is not on disk yet; load it first")


class InvalidCatalogue(ImageGenError):
    """The list of models in {file} is invalid: {problem}"""

    code, status = "bad_catalogue", 500


class HubRequestFailed(ImageGenError):
    """{reference} cannot be fetched from the Hub: {problem}"""

    code, status = "hub_refused", 424

    def __init__(self, reference: str, problem: str) -> None:
        super().__init__(reference=reference, problem=problem)


class InsufficientStorage(ImageGenError):
    """{reference} needs {size} of disk space; {problem}"""

    code, status = "no_room", 413

    def __init__(self, reference: str, size: int, problem: str) -> None:
        super().__init__(reference=reference, size=format_bytes(size), problem=problem)


class DownloadStopped(ImageGenError):
    """The download was stopped. The studio keeps the received part and continues from there the next time."""

    code, status = "stopped", 409


class LoadStopped(ImageGenError):
    """Loading was stopped."""

    code, status = "stopped", 409


class ModelLoadFailed(JobFailed):
    """The model {model} cannot be loaded: {problem}"""

    code = "model_broken"

    def __init__(self, model: str, problem: str) -> None:
        super().__init__(model=model, problem=problem)


class ModelTooLarge(JobFailed):
    """{model} needs {size} of memory; the limit is {most} (setting memory_gb)."""

    code = "model_too_large"

    def __init__(self, model: str, size: int, max_bytes: int) -> None:
        super().__init__(model=model, size=format_bytes(size), most=format_bytes(max_bytes))


class PackageMissing(JobFailed):
    """{what} needs the Python package {package}, which is not installed here."""

    code, status = "package_missing", 501

    def __init__(self, what: str, package: str) -> None:
        super().__init__(what=what, package=package)
