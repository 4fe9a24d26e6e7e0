"""All that can be generated with: models, LoRAs and embeddings, on disk and on the Hub."""

from __future__ import annotations

import glob
import shutil
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from huggingface_hub.constants import HF_HUB_CACHE

from imagegen.errors import InvalidRequest, NotOnDisk
from imagegen.info import AdapterKind
from imagegen.library.adapters import Adapters
from imagegen.library.downloads import Download, Downloads
from imagegen.library.hub import Hub
from imagegen.library.models import Models
from imagegen.library.snapshots import HubFiles, Snapshots
from imagegen.library.weights import weights_in
from imagegen.settings import ASSETS, Settings


class Library:
    """Downloads go to the models folder; what the Hub's own cache holds already is used from there."""

    def __init__(self, settings: Settings, hub_cache: Path = Path(HF_HUB_CACHE)) -> None:
        folder = settings.models_dir.resolve()
        self.snapshots = Snapshots(folder / "hub", hub_cache)
        self.models = Models(ASSETS, folder, self.snapshots)
        self.adapters: dict[AdapterKind, Adapters] = {
            "lora": Adapters("lora", (folder / "loras", ASSETS / "loras"), self.snapshots),
            "embedding": Adapters("embedding", (folder / "embeddings",), self.snapshots),
        }
        self.downloads = Downloads(self.snapshots, round(settings.max_download_gb * 10**9))
        self._hub = Hub()

    def download_model(self, reference: str) -> AsyncIterator[Download]:
        """Raises UnknownModel, and what Downloads.follow raises."""
        reference = self.models.canonical(reference)
        wanted = self.models.on_hub(reference)
        if wanted is None:
            raise NotOnDisk(reference)
        return self.downloads.follow(reference, partial(self._hub.model_plan, reference, wanted))

    def download_adapter(self, kind: AdapterKind, reference: str) -> AsyncIterator[Download]:
        """Raises UnknownModel, and what Downloads.follow raises."""
        wanted = self.adapters[kind].on_hub(reference)
        if wanted is None:
            raise NotOnDisk(reference, kind)
        return self.downloads.follow(reference, partial(self._hub.adapter_plan, reference, wanted, kind))

    def delete_model(self, reference: str) -> None:
        """From our own folder of downloads, whole or not. Raises UnknownModel and InvalidRequest."""
        self._delete("model", reference, self.models.on_hub(reference))

    def delete_adapter(self, kind: AdapterKind, reference: str) -> None:
        """As delete_model."""
        self._delete(kind, reference, self.adapters[kind].on_hub(reference))

    def _delete(self, field: str, reference: str, wanted: HubFiles | None) -> None:
        """One file, or a whole repository. What somebody put elsewhere is his."""
        folder = self.snapshots.repository_folder(wanted.repository) if wanted else None
        if wanted is None or folder is None or not folder.exists():
            raise InvalidRequest(field, f"{reference} was not downloaded by the studio, so it is not deleted by it")
        if wanted.file is not None:
            for file in folder.glob(f"snapshots/*/{glob.escape(wanted.file)}*"):
                file.unlink()
        if wanted.file is None or not weights_in(folder):
            shutil.rmtree(folder)
