"""Upscalers as a resource."""

from __future__ import annotations

from pathlib import Path

from imagegen.library.author_picture import find_picture
from imagegen.library.file_resource import FileResource
from imagegen.library.hub import HubClient
from imagegen.library.resource import Usage
from imagegen.library.upscalers import UpscalerIndex
from imagegen.schema.models import UpscalerInfo, UpscalerSource


class UpscalerResource(FileResource[UpscalerInfo]):
    """Workers load an upscaler with the first job that needs it, and keep the ones used last."""

    info_type = UpscalerInfo
    unload_help = "Frees the memory of an upscaler, or stops its download."

    def __init__(self, index: UpscalerIndex, hub: HubClient) -> None:
        super().__init__(index, hub, "Upscalers")
        self.index: UpscalerIndex = index

    def list_available(self, usage: Usage) -> list[UpscalerInfo]:
        return [upscaler.info for upscaler in self.index.list_available()]

    def describe(self, reference: str, usage: Usage) -> UpscalerInfo:
        return self.index.get(reference).info

    def get_source(self, reference: str) -> UpscalerSource:
        return self.index.get_source(reference)

    def find_picture(self, reference: str) -> Path | None:
        path = self.index.get(reference).path
        return find_picture(path) if path is not None else None

    def get_memory_id(self, reference: str) -> str | None:
        return reference
