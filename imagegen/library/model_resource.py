"""Models as a resource."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from imagegen.errors import NotOnDisk, UnknownModel, UnusableModel
from imagegen.library.adapter_resource import AdapterResource
from imagegen.library.author_picture import find_picture
from imagegen.library.deletion import delete_download
from imagegen.library.hub import DownloadPlan, HubClient
from imagegen.library.memory_estimate import assess_fit
from imagegen.library.model_index import Model, ModelIndex
from imagegen.library.model_info import READ_ERRORS
from imagegen.library.resource import ResourceReference, Usage
from imagegen.library.weight_files import measure_weight_bytes
from imagegen.schema.models import ModelInfo, ModelSource, ModelState, ModelStatus


class ModelResource:
    """The models. One is on disk when its own files and those of its LoRAs and its VAE are."""

    kind = "model"
    heading = "Models"
    file_noun = "models"
    reference_help = (
        "A name from the list of models, a Hugging Face repository, or a file or folder in the models folder."
    )
    unload_help = "Frees the memory of a model, or stops its download or its loading."
    info_type = ModelStatus

    def __init__(self, index: ModelIndex, loras: AdapterResource, vaes: AdapterResource, hub: HubClient) -> None:
        self.index, self.loras, self.vaes, self.hub = index, loras, vaes, hub

    def list_available(self, usage: Usage) -> list[ModelStatus]:
        return [self._build_status(model, usage) for model in self.index.list_available()]

    def list_refused(self) -> list[UnusableModel]:
        return self.index.list_refused()

    def describe(self, reference: str, usage: Usage) -> ModelStatus:
        return self._build_status(self.index.get(reference), usage)

    def resolve(self, reference: str) -> tuple[ModelInfo, ModelSource]:
        """Returns a model that is on disk with its LoRAs and its VAE. Raises InvalidRequest."""
        model = self.index.get(reference)
        if model.source is None or self._list_missing_parts(model.info):
            raise NotOnDisk(model.info.id)
        return model.info, model.source

    def resolve_id(self, reference: str) -> str:
        return self.index.resolve_id(reference)

    def is_on_disk(self, reference: str) -> bool:
        try:
            return self.index.get(reference).source is not None
        except UnknownModel:
            return False

    def list_missing_parts(self, reference: str) -> list[ResourceReference]:
        return self._list_missing_parts(self.index.get(reference).info)

    def prepare_download(self, reference: str) -> Callable[[], DownloadPlan]:
        hub_files = self.index.get_hub_files(reference)
        if hub_files is None:
            raise NotOnDisk(reference)
        return partial(self.hub.plan_model, reference, hub_files)

    def get_source(self, reference: str) -> ModelSource:
        return self.resolve(reference)[1]

    def find_picture(self, reference: str) -> Path | None:
        source = self.index.get(reference).source
        return find_picture(source.path) if source is not None else None

    def get_memory_id(self, reference: str) -> str:
        """Returns one id for two models that differ in their LoRAs alone: they share their weights."""
        with suppress(UnknownModel, UnusableModel):
            source = self.index.get(reference).source
            return reference if source is None else source.id
        return reference

    def delete(self, reference: str) -> None:
        delete_download(self.index.snapshots, self.kind, reference, self.index.get_hub_files(reference))

    def _build_status(self, model: Model, usage: Usage) -> ModelStatus:
        info, source = model.info, model.source
        parts = (info.id, *(part.reference for _, part in self._list_parts(info)))
        download = next((usage.downloads[part] for part in parts if part in usage.downloads), None)
        status = ModelStatus(
            model=info,
            state="absent",
            abilities=info.can.abilities,
            runs_here=assess_fit(info, source, usage.memories),
        )
        if download is not None:
            facts: dict[str, Any] = {"state": "downloading", "received": download.received, "size": download.size}
        elif source is None or self._list_missing_parts(info):
            facts = {}
        else:
            state: ModelState = "in memory" if source.id in usage.in_memory else "on disk"
            facts = {
                "state": state,
                "size": measure_size(source.path),
                "deletable": self.index.snapshots.is_download(source.path),
                "loading": state == "on disk" and source.id in usage.loading,
                "has_picture": find_picture(source.path) is not None,
            }
        return status.model_copy(update=facts)

    def _list_parts(self, info: ModelInfo) -> list[tuple[AdapterResource, ResourceReference]]:
        """Returns the model's own LoRAs and VAE, each with what knows it."""
        references = [(self.loras, use.lora) for use in info.loras]
        references += [(self.vaes, info.vae)] if info.vae is not None else []
        return [(resource, ResourceReference(resource.kind, reference)) for resource, reference in references]

    def _list_missing_parts(self, info: ModelInfo) -> list[ResourceReference]:
        return [part for resource, part in self._list_parts(info) if not resource.is_on_disk(part.reference)]


def measure_size(path: Path) -> int | None:
    """Returns the bytes of a model's weights on disk; None while they are being removed."""
    with suppress(*READ_ERRORS):
        return measure_weight_bytes(path)
    return None
