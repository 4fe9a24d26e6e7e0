"""What resources of one file each have in common: LoRAs, embeddings and upscalers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Generic

from imagegen.errors import NotOnDisk, UnknownModel, UnusableModel
from imagegen.library.deletion import delete_download
from imagegen.library.file_index import FileIndex
from imagegen.library.hub import DownloadPlan, HubClient
from imagegen.library.resource import InfoT_co, ResourceReference


class FileResource(Generic[InfoT_co]):
    """The resources of one kind whose files are in an index."""

    file_noun = "files"

    def __init__(self, index: FileIndex[Any], hub: HubClient, heading: str) -> None:
        self.index, self.hub, self.kind, self.heading = index, hub, index.kind, heading
        self.reference_help = (
            f"A name from the list of {self.kind}s, or a Hugging Face repository, with its file if it has several."
        )

    def resolve_id(self, reference: str) -> str:
        return reference

    def is_on_disk(self, reference: str) -> bool:
        try:
            self.index.get(reference)
        except (NotOnDisk, UnknownModel):
            return False
        return True

    def list_refused(self) -> list[UnusableModel]:
        return self.index.list_refused()

    def list_missing_parts(self, reference: str) -> list[ResourceReference]:
        return []

    def prepare_download(self, reference: str) -> Callable[[], DownloadPlan]:
        hub_files = self.index.get_hub_files(reference)
        if hub_files is None:
            raise NotOnDisk(reference, self.kind)
        return partial(self.hub.plan_adapter, reference, hub_files, self.kind)

    def delete(self, reference: str) -> None:
        delete_download(self.index.snapshots, self.kind, reference, self.index.get_hub_files(reference))
