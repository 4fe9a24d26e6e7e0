"""ControlNets, IP-Adapters, VAEs, detectors or preprocessors as a resource."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from imagegen.errors import NotOnDisk
from imagegen.library.adapter_resource import AdapterResource
from imagegen.library.adapters import AdapterIndex
from imagegen.library.hub import DownloadPlan, HubClient
from imagegen.library.ip_adapters import IpAdapterIndex


class NetworkResource(AdapterResource):
    """Workers load such a network with the first job that needs it, and keep it while there is memory."""

    def __init__(self, index: AdapterIndex, hub: HubClient, heading: str) -> None:
        super().__init__(index, hub, heading)
        noun = heading.removesuffix("s")
        self.unload_help = f"Frees the memory of a {noun}, or stops its download."

    def prepare_download(self, reference: str) -> Callable[[], DownloadPlan]:
        hub_files = self.index.get_hub_files(reference)
        if hub_files is None:
            raise NotOnDisk(reference, self.kind)
        return partial(self.hub.plan_network, reference, hub_files, self.kind)

    def get_memory_id(self, reference: str) -> str:
        return reference


class IpAdapterResource(NetworkResource):
    """An IP-Adapter is downloaded with the image encoder that it needs."""

    def __init__(self, index: AdapterIndex, hub: HubClient, heading: str) -> None:
        super().__init__(index, hub, heading)
        assert isinstance(index, IpAdapterIndex)
        self.has_encoder = index.has_encoder

    def prepare_download(self, reference: str) -> Callable[[], DownloadPlan]:
        hub_files = self.index.get_hub_files(reference)
        if hub_files is None:
            raise NotOnDisk(reference, self.kind)
        return partial(self.hub.plan_ip_adapter, reference, hub_files, self.kind, self.has_encoder)
