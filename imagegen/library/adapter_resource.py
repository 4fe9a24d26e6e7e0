"""LoRAs or embeddings as a resource."""

from __future__ import annotations

from pathlib import Path

from imagegen.library.adapters import AdapterIndex
from imagegen.library.author_picture import find_picture
from imagegen.library.file_resource import FileResource
from imagegen.library.hub import HubClient
from imagegen.library.resource import Usage
from imagegen.schema.models import AdapterInfo, AdapterSource


class AdapterResource(FileResource[AdapterInfo]):
    """The adapters of one kind. Workers load them with the model of a job, and keep them with it."""

    info_type = AdapterInfo

    def __init__(self, index: AdapterIndex, hub: HubClient, heading: str) -> None:
        super().__init__(index, hub, heading)
        self.index: AdapterIndex = index
        self.unload_help = f"Stops the download of a {self.kind}."

    def list_available(self, usage: Usage) -> list[AdapterInfo]:
        return [adapter.info for adapter in self.index.list_available()]

    def describe(self, reference: str, usage: Usage) -> AdapterInfo:
        return self.index.get(reference).info

    def get_source(self, reference: str) -> AdapterSource:
        return self.index.get_source(reference)

    def find_picture(self, reference: str) -> Path | None:
        return find_picture(self.index.get(reference).path)

    def get_memory_id(self, reference: str) -> str | None:
        return None
