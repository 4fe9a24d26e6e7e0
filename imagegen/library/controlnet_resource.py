"""ControlNets as a resource."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from imagegen.errors import NotOnDisk
from imagegen.library.adapter_resource import AdapterResource
from imagegen.library.adapters import AdapterIndex
from imagegen.library.hub import DownloadPlan, HubClient


class ControlNetResource(AdapterResource):
    """Workers load a ControlNet with the first job that needs it, and keep it while there is memory."""

    def __init__(self, index: AdapterIndex, hub: HubClient) -> None:
        super().__init__(index, hub, "ControlNets")
        self.unload_help = "Frees the memory of a ControlNet, or stops its download."

    def prepare_download(self, reference: str) -> Callable[[], DownloadPlan]:
        hub_files = self.index.get_hub_files(reference)
        if hub_files is None:
            raise NotOnDisk(reference, self.kind)
        return partial(self.hub.plan_controlnet, reference, hub_files)

    def get_memory_id(self, reference: str) -> str:
        return reference
