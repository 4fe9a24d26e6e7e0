"""Models, adapters of all kinds and upscalers, on disk and on the Hub, behind one object."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub.constants import HF_HUB_CACHE

from imagegen.library.adapter_resource import AdapterResource
from imagegen.library.adapters import AdapterIndex
from imagegen.library.checksums import Checksums
from imagegen.library.controlnets import ControlNetIndex
from imagegen.library.detectors import DetectorIndex
from imagegen.library.downloads import DownloadManager
from imagegen.library.hub import HubClient
from imagegen.library.ip_adapters import IpAdapterIndex
from imagegen.library.model_index import ModelIndex
from imagegen.library.model_resource import ModelResource
from imagegen.library.network_resource import IpAdapterResource, NetworkResource
from imagegen.library.preprocessor_models import PreprocessorIndex
from imagegen.library.resource import Resource, ResourceInfo
from imagegen.library.snapshots import Snapshots
from imagegen.library.upscaler_resource import UpscalerResource
from imagegen.library.upscalers import KIND, UpscalerIndex
from imagegen.library.vaes import VaeIndex
from imagegen.library.wildcards import WildcardFolder
from imagegen.schema.models import AdapterKind
from imagegen.settings import ASSETS_DIR, Settings


class Library:
    """The indexes of what is on disk, the downloads, and each kind of resource by the same interface.

    Downloads go to the models folder; the Hub's own cache is only read. Checksums are stored in the data folder.
    """

    def __init__(self, settings: Settings, hub_cache: Path = Path(HF_HUB_CACHE)) -> None:
        folder, hub = settings.models_dir.resolve(), HubClient()
        self.snapshots = Snapshots(folder / "hub", hub_cache)
        self.checksums = Checksums(settings.data_dir / "checksums.json")
        self.downloads = DownloadManager(self.snapshots, self.checksums, round(settings.max_download_gb * 10**9))
        self.models = ModelIndex(ASSETS_DIR, folder, self.snapshots, settings.follow_links)
        adapter_folders: dict[AdapterKind, tuple[Path, ...]] = {
            "lora": (folder / "loras", ASSETS_DIR / "loras"),
            "embedding": (folder / "embeddings",),
            "controlnet": (folder / "controlnets", ASSETS_DIR / "controlnets"),
            "ip_adapter": (folder / "ip_adapters",),
            "vae": (folder / "vaes",),
            "detector": (folder / "detectors", ASSETS_DIR / "detectors"),
            "preprocessor": (folder / "preprocessors",),
        }
        index_types: dict[AdapterKind, type[AdapterIndex]] = {
            "controlnet": ControlNetIndex,
            "ip_adapter": IpAdapterIndex,
            "vae": VaeIndex,
            "detector": DetectorIndex,
            "preprocessor": PreprocessorIndex,
        }
        self.adapters: dict[AdapterKind, AdapterIndex] = {
            kind: index_types.get(kind, AdapterIndex)(
                kind, folders, self.snapshots, self.checksums, settings.follow_links
            )
            for kind, folders in adapter_folders.items()
        }
        loras = AdapterResource(self.adapters["lora"], hub, "LoRAs")
        embeddings = AdapterResource(self.adapters["embedding"], hub, "Embeddings")
        controlnets = NetworkResource(self.adapters["controlnet"], hub, "ControlNets")
        ip_adapters = IpAdapterResource(self.adapters["ip_adapter"], hub, "IP-Adapters")
        vaes = NetworkResource(self.adapters["vae"], hub, "VAEs")
        detectors = NetworkResource(self.adapters["detector"], hub, "Detectors")
        preprocessors = NetworkResource(self.adapters["preprocessor"], hub, "Preprocessors")
        self.upscalers = UpscalerIndex(
            KIND,
            (folder / "upscalers", ASSETS_DIR / "upscalers"),
            self.snapshots,
            self.checksums,
            settings.follow_links,
        )
        upscalers = UpscalerResource(self.upscalers, hub)
        self.wildcards = WildcardFolder(folder / "wildcards", settings.follow_links)
        self.model_resource = ModelResource(self.models, loras, vaes, hub)
        self.resources: tuple[Resource[ResourceInfo], ...] = (
            self.model_resource,
            loras,
            embeddings,
            controlnets,
            ip_adapters,
            vaes,
            detectors,
            preprocessors,
            upscalers,
        )

    def get_resource(self, kind: str) -> Resource[ResourceInfo]:
        """Returns all resources of a kind that is in `resources`."""
        return next(resource for resource in self.resources if resource.kind == kind)
