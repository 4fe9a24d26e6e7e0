"""The common interface of models, LoRAs, embeddings and upscalers.

A new kind is one class with this interface, and one line in the tuple of `Library.resources`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from imagegen.errors import UnusableModel
from imagegen.library.downloads import Download
from imagegen.library.hub import DownloadPlan
from imagegen.schema.models import (
    AdapterInfo,
    AdapterSource,
    ModelSource,
    ModelStatus,
    UpscalerInfo,
    UpscalerSource,
    WorkerMemory,
)

ResourceInfo = ModelStatus | AdapterInfo | UpscalerInfo
InfoT_co = TypeVar("InfoT_co", bound=ResourceInfo, covariant=True)


@dataclass(frozen=True)
class Usage:
    """Running downloads by reference, the ids of the models in the memory of any worker and of those that are being
    loaded there, and what fits into the memory of each worker.
    """

    downloads: Mapping[str, Download] = field(default_factory=dict)
    in_memory: Collection[str] = ()
    loading: Collection[str] = ()
    memories: Sequence[WorkerMemory] = ()


@dataclass(frozen=True)
class ResourceReference:
    """A reference to one resource of a kind."""

    kind: str
    reference: str


class Resource(Protocol[InfoT_co]):
    """All resources of one kind, on disk and on the Hub. The methods read the disk.

    References are normalized. Where a method raises InvalidRequest, it is UnknownModel, UnusableModel or NotOnDisk.
    """

    @property
    def kind(self) -> str:
        """The word for one of them, in routes, fields and messages."""

    @property
    def heading(self) -> str:
        """The word for all of them, as a title."""

    @property
    def file_noun(self) -> str:
        """What an administrator is asked to download or delete, in error messages."""

    @property
    def reference_help(self) -> str:
        """What a reference can be, as a sentence."""

    @property
    def unload_help(self) -> str:
        """What unloading does, as a sentence."""

    @property
    def info_type(self) -> type[InfoT_co]:
        """The type that `describe` returns."""

    def list_available(self, usage: Usage) -> Sequence[InfoT_co]:
        """Returns what is known of each."""

    def list_refused(self) -> Sequence[UnusableModel]:
        """Returns why files in the models folder cannot be used."""

    def describe(self, reference: str, usage: Usage) -> InfoT_co:
        """Returns what is known of one. Raises InvalidRequest."""

    def resolve_id(self, reference: str) -> str:
        """Returns the id of what may have several names; an unknown reference is returned unchanged."""

    def is_on_disk(self, reference: str) -> bool:
        """Raises UnusableModel for files that are on disk and cannot be used."""

    def list_missing_parts(self, reference: str) -> list[ResourceReference]:
        """Returns the other resources that it needs and that are not on disk. Raises InvalidRequest."""

    def prepare_download(self, reference: str) -> Callable[[], DownloadPlan]:
        """Returns a function that asks the Hub which files to download. Raises InvalidRequest."""

    def get_source(self, reference: str) -> ModelSource | AdapterSource | UpscalerSource:
        """Returns where its files are. May read them whole, for a checksum. Raises InvalidRequest."""

    def find_picture(self, reference: str) -> Path | None:
        """Returns the picture that its author put beside its files on disk, if there is one. Raises InvalidRequest."""

    def get_memory_id(self, reference: str) -> str | None:
        """Returns the id by which workers know it in their memory; None for what they keep with a model."""

    def delete(self, reference: str) -> None:
        """Removes its download from the disk. Raises InvalidRequest for files that the studio did not download."""
