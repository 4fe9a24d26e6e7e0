"""Joins the library and the workers: lists, downloads, loads, unloads and deletes models, LoRAs and embeddings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

from imagegen.errors import AdministratorRequired, InvalidRequest, attribute_errors_to
from imagegen.library.library import Library
from imagegen.library.preprocessor_models import PreprocessorIndex, find_person_detector
from imagegen.library.prompt_tokens import measure_prompt
from imagegen.library.references import normalize_reference
from imagegen.library.resource import Resource, ResourceInfo, Usage
from imagegen.library.upscalers import DEFAULT_UPSCALER
from imagegen.library.vaes import find_preview_decoder
from imagegen.model_loads import ModelLoads
from imagegen.schema.base import User
from imagegen.schema.controls import LEARNED_PREPROCESSORS, Preprocessor
from imagegen.schema.field_types import LATENT_UPSCALER
from imagegen.schema.models import (
    AdapterInfo,
    AdapterKind,
    AdapterSource,
    DownloadStatus,
    LoadProgress,
    ModelInfo,
    ModelSource,
    ModelStatus,
    RefusedFile,
    UpscalerInfo,
    Upscalers,
    WildcardInfo,
)
from imagegen.schema.prompt_weights import PromptLength
from imagegen.schema.request import GenerationRequest
from imagegen.schema.wildcards import has_choices, replace_choices
from imagegen.workers.model_memory import ModelMemory

InfoT = TypeVar("InfoT", bound=ResourceInfo)


class ManagedResource(Generic[InfoT]):
    """What every API offers for one kind of resource: list, get, load and unload, with the check of who may."""

    def __init__(self, resource: Resource[InfoT], library: Library, memory: ModelMemory, loads: ModelLoads) -> None:
        self._resource, self._library, self._memory, self._loads = resource, library, memory, loads
        self.name, self.heading, self.info_type = resource.kind, resource.heading, resource.info_type
        self.reference_help, self.unload_help = resource.reference_help, resource.unload_help

    def list_all(self) -> Sequence[InfoT]:
        """Returns what is known of each. Reads the disk."""
        return self._resource.list_available(self._get_usage())

    def get(self, reference: str) -> InfoT:
        """Returns what is known of one. Reads the disk. Raises UnknownModel, UnusableModel and NotOnDisk."""
        return self._resource.describe(reference, self._get_usage())

    def find_picture(self, reference: str) -> Path | None:
        """Returns its author's picture on disk, if there is one. Raises UnknownModel, UnusableModel and NotOnDisk."""
        return self._resource.find_picture(self._resource.resolve_id(normalize_reference(reference)))

    async def load(self, reference: str, user: User) -> AsyncGenerator[LoadProgress]:
        """Downloads what is not on disk, with the parts that it needs; then loads a model onto a device.

        Ends when it can be used. Raises UnknownModel, UnusableModel, NotOnDisk, AdministratorRequired,
        HubRequestFailed, InsufficientStorage, DownloadStopped, LoadStopped, WorkerUnavailable, and what loading raises.
        """
        resource = self._resource
        reference = await asyncio.to_thread(resource.resolve_id, normalize_reference(reference))
        if not await asyncio.to_thread(resource.is_on_disk, reference):
            async for progress in self._download(resource, reference, reference, user):
                yield progress
        for part in await asyncio.to_thread(resource.list_missing_parts, reference):
            part_resource = self._library.get_resource(part.kind)
            async for progress in self._download(part_resource, part.reference, reference, user):
                yield progress
        yield LoadProgress(id=reference, doing="loading")
        source = await asyncio.to_thread(resource.get_source, reference)
        if isinstance(source, ModelSource):
            await self._loads.follow(source)
        yield LoadProgress(id=reference if isinstance(source, ModelSource) else source.id, doing="done")

    async def unload(self, reference: str, user: User, delete: bool = False) -> None:
        """Ends a download or a load, or frees memory on all workers; with `delete`, also removes it from the disk.

        Raises UnknownModel, UnusableModel, NotOnDisk, AdministratorRequired, and InvalidRequest for the owner's files.
        """
        resource = self._resource
        reference = await asyncio.to_thread(resource.resolve_id, normalize_reference(reference))
        if not await self._stop_download(reference, user, delete) and not delete:
            await asyncio.to_thread(resource.describe, reference, Usage())
        memory_id = await asyncio.to_thread(resource.get_memory_id, reference)
        if memory_id is not None:
            self._loads.stop(memory_id)
            await self._memory.release(memory_id)
        if delete:
            await asyncio.to_thread(resource.delete, reference)

    def _get_usage(self) -> Usage:
        registry = self._memory.registry
        return Usage(
            downloads=self._library.downloads.running,
            in_memory=registry.list_models(),
            loading=self._loads.list_all(),
            memories=registry.list_memories(),
        )

    async def _download(
        self, resource: Resource[ResourceInfo], reference: str, shown_id: str, user: User
    ) -> AsyncGenerator[LoadProgress]:
        """Downloads a resource, and yields progress under `shown_id`. Raises what `load` raises."""
        plan = await asyncio.to_thread(resource.prepare_download, reference)
        if not user.is_administrator:
            raise AdministratorRequired(f"download {resource.file_noun}")
        yield LoadProgress(id=shown_id, doing="asking the Hub")
        async for download in self._library.downloads.follow(resource.kind, reference, plan):
            yield LoadProgress(id=shown_id, doing="downloading", received=download.received, size=download.size)

    async def _stop_download(self, reference: str, user: User, delete: bool) -> bool:
        """Returns whether there was a download to stop, of it or of a part of it. Raises AdministratorRequired."""
        downloads = self._library.downloads
        references = [reference, *await asyncio.to_thread(self._list_missing_parts, reference)]
        running = [each for each in references if downloads.is_downloading(each)]
        if (delete or running) and not user.is_administrator:
            raise AdministratorRequired(f"delete {self._resource.file_noun}")
        return any([await downloads.stop(each) for each in running])

    def _list_missing_parts(self, reference: str) -> list[str]:
        """Returns the references of the parts that are not on disk; none for what is not on disk itself."""
        with suppress(InvalidRequest):
            return [part.reference for part in self._resource.list_missing_parts(reference)]
        return []


class ModelManager:
    """Has each kind of resource by its name, and resolves requests to the files that they need."""

    def __init__(self, library: Library, memory: ModelMemory) -> None:
        self.library, self.memory = library, memory
        loads = ModelLoads(self._load)
        self.models = ManagedResource(library.model_resource, library, memory, loads)
        self.resources = {each.kind: ManagedResource(each, library, memory, loads) for each in library.resources}

    def list_models(self) -> list[ModelStatus]:
        """Returns the models of the catalogue and those on disk, with where they are. Reads the disk."""
        return list(self.models.list_all())

    def list_adapters(self, kind: AdapterKind) -> list[AdapterInfo]:
        """Returns the adapters of a kind on disk. Reads the disk."""
        return [adapter.info for adapter in self.library.adapters[kind].list_available()]

    def get_default(self) -> ModelInfo:
        """Returns the model for requests that name none."""
        return self.library.models.get(self.library.models.default_id).info

    def resolve_model(self, reference: str | None) -> tuple[ModelInfo, ModelSource]:
        """Returns a model on disk; the default one for None. Raises UnknownModel, UnusableModel and NotOnDisk."""
        return self.library.model_resource.resolve(reference or self.library.models.default_id)

    def list_upscalers(self) -> list[UpscalerInfo]:
        """Returns the filters, and the upscalers on disk. Reads the disk."""
        return [upscaler.info for upscaler in self.library.upscalers.list_available()]

    def resolve_upscalers(self, request: GenerationRequest) -> Upscalers:
        """Returns the upscalers that a request needs, by field. Reads whole files, for their checksums.

        Raises UnknownModel, UnusableModel and NotOnDisk.
        """
        sources: Upscalers = {}
        if request.has_hires and request.hires_upscaler != LATENT_UPSCALER:
            with attribute_errors_to("hires_upscaler"):
                name = request.hires_upscaler or DEFAULT_UPSCALER
                sources["hires_upscaler"] = self.library.upscalers.get_source(name)
        if request.is_upscaled:
            with attribute_errors_to("upscaler"):
                sources["upscaler"] = self.library.upscalers.get_source(request.upscaler or DEFAULT_UPSCALER)
        return sources

    def compute_model_sha256(self, source: ModelSource) -> str | None:
        """Returns the SHA-256 of a model's weights, None if they cannot be read. Reads whole files the first time."""
        return self.library.checksums.compute_model_sha256(source)

    def find_model_sha256(self, source: ModelSource) -> str | None:
        """Returns the SHA-256 of a model's weights, None if only reading them could tell."""
        return self.library.checksums.find_model_sha256(source)

    def resolve_request_adapters(self, request: GenerationRequest) -> tuple[AdapterSource, ...]:
        """Returns the adapters that a request names. Reads whole files, for their checksums.

        Raises UnknownModel, UnusableModel and NotOnDisk.
        """
        loras, embeddings = self.library.adapters["lora"], self.library.adapters["embedding"]
        with attribute_errors_to("loras"):
            lora_sources = [loras.get_source(use.lora, use.weight) for use in request.loras]
        with attribute_errors_to("embeddings"):
            embedding_sources = [embeddings.get_source(name) for name in request.embeddings]
        networks = (
            *(self._resolve_controlnets, self._resolve_preprocessors, self._resolve_ip_adapters),
            *(self._resolve_vae, self._resolve_detector),
        )
        return (*lora_sources, *embedding_sources, *(each for resolve in networks for each in resolve(request)))

    def _resolve_controlnets(self, request: GenerationRequest) -> Iterator[AdapterSource]:
        for number, use in enumerate(request.controls):
            with attribute_errors_to(f"controls[{number}].controlnet"):
                yield self.library.adapters["controlnet"].get_source(use.controlnet, use.weight)

    def list_preprocessor_networks(self, name: Preprocessor, field: str) -> tuple[AdapterSource, ...]:
        """Returns the networks for a learned preprocessor. Reads their whole files, for their checksums.

        Raises InvalidRequest for the field if one of them is missing.
        """
        index = self.library.adapters["preprocessor"]
        assert isinstance(index, PreprocessorIndex)
        with attribute_errors_to(field):
            others = (find_person_detector(self.library.adapters["detector"]),) if name == "pose" else ()
            return index.get_source_for(name), *others

    def _resolve_preprocessors(self, request: GenerationRequest) -> Iterator[AdapterSource]:
        for number, use in enumerate(request.controls):
            if use.preprocessor in LEARNED_PREPROCESSORS:
                yield from self.list_preprocessor_networks(use.preprocessor, f"controls[{number}].preprocessor")

    def _resolve_ip_adapters(self, request: GenerationRequest) -> Iterator[AdapterSource]:
        for number, use in enumerate(request.references):
            if use.ip_adapter is not None:
                with attribute_errors_to(f"references[{number}].ip_adapter"):
                    yield from self.library.adapters["ip_adapter"].list_sources(use.ip_adapter, use.weight)

    def _resolve_vae(self, request: GenerationRequest) -> Iterator[AdapterSource]:
        if request.vae is not None:
            with attribute_errors_to("vae"):
                yield self.library.adapters["vae"].get_source(request.vae)

    def _resolve_detector(self, request: GenerationRequest) -> Iterator[AdapterSource]:
        if request.detail_detector is not None:
            with attribute_errors_to("detail_detector"):
                yield self.library.adapters["detector"].get_source(request.detail_detector)

    def resolve_all_adapters(self, request: GenerationRequest, model: ModelInfo) -> tuple[AdapterSource, ...]:
        """Returns the model's own LoRAs, except those that the request names, and the request's adapters.

        Raises what resolve_request_adapters raises.
        """
        requested = self.resolve_request_adapters(request)
        requested_ids = {each.id for each in requested if each.kind == "lora"}
        with attribute_errors_to("model"):
            model_loras = [self.library.adapters["lora"].get_source(use.lora, use.weight) for use in model.loras]
        return (*(each for each in model_loras if each.id not in requested_ids), *requested)

    def find_preview_decoder(self, model: ModelInfo) -> AdapterSource | None:
        """Returns the small VAE that previews of a model are made with, if there is one. Reads the disk."""
        return find_preview_decoder(self.library.adapters["vae"], model.latents)

    def measure_prompt(self, reference: str | None, prompt: str, seed: int = 0) -> PromptLength:
        """Returns the length of a prompt for a model; the default one for None. Reads the disk.

        `seed` makes the choices in the prompt. Raises TokensUnknown, UnknownModel, UnusableModel and NotOnDisk, and
        InvalidRequest for a wildcard.
        """
        source = self.resolve_model(reference)[1]
        if not has_choices(prompt):
            return measure_prompt(source, prompt)
        length = measure_prompt(source, replace_choices(prompt, seed, self.library.wildcards.read_lines))
        return length.model_copy(update={"has_choices": True})

    def list_wildcards(self) -> list[WildcardInfo]:
        """Returns the wildcards that prompts can have. Reads the disk."""
        return [WildcardInfo(name=name) for name in self.library.wildcards.list_names()]

    def list_embedding_words(self, model: ModelInfo) -> dict[str, tuple[str, ...]]:
        """Returns the words of the embeddings on disk that fit a model, by their ids. Reads the disk."""
        if not model.can.embeddings:
            return {}
        return {
            each.id: each.trigger for each in self.list_adapters("embedding") if each.architecture == model.architecture
        }

    def list_downloads(self) -> list[DownloadStatus]:
        """Returns the downloads of models and adapters that go on, the oldest first."""
        return self.library.downloads.list_all()

    def list_refused_files(self) -> list[RefusedFile]:
        """Returns the files and folders in the models folder that cannot be used. Reads the disk."""
        return [
            RefusedFile(kind=resource.kind, id=refusal.reference, problem=refusal.reason)
            for resource in self.library.resources
            for refusal in resource.list_refused()
        ]

    async def _load(self, source: ModelSource) -> None:
        """Loads a model onto a device, and computes the checksum that receipts need."""
        checksum = asyncio.to_thread(self.library.checksums.compute_model_sha256, source)
        await asyncio.gather(self.memory.warm(source), checksum)
