"""What can be generated with: brought from the Hub, kept in memory, sent away. Who may do so is checked here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress

from imagegen.errors import JobFailed, NotAllowed, NotOnDisk, Told, UnknownModel, UnusableModel, WorkerLost, of_field
from imagegen.info import (
    AdapterInfo,
    AdapterKind,
    AdapterSource,
    ModelInfo,
    ModelSource,
    ModelState,
    ModelStatus,
    Step,
)
from imagegen.library.downloads import Download
from imagegen.library.library import Library
from imagegen.library.models import Model
from imagegen.library.references import address
from imagegen.schema import GenerationRequest, User
from imagegen.workers.base import Worker
from imagegen.workers.messages import Held, Warmed

logger = logging.getLogger(__name__)

PATIENCE = 5.0


class Stock:
    """`ready` waits until the worker hears orders, and raises WorkerUnavailable when it never will."""

    def __init__(self, library: Library, worker: Worker, ready: Callable[[], Awaitable[None]]) -> None:
        self.library, self.worker, self._ready = library, worker, ready
        self.held = Held(models=())
        self._news = asyncio.Event()
        self._warming: dict[str, list[asyncio.Future[Warmed]]] = {}

    def default(self) -> ModelInfo:
        return self.library.models.get(self.library.models.first).info

    def model(self, reference: str | None) -> tuple[ModelInfo, ModelSource]:
        """What is asked for, or the first there is. Raises UnknownModel, UnusableModel and NotOnDisk."""
        model = self.library.models.get(reference or self.library.models.first)
        if model.source is None or self._missing_loras(model):
            raise NotOnDisk(model.info.id)
        return model.info, model.source

    def adapters(self, request: GenerationRequest) -> tuple[AdapterSource, ...]:
        """What the request puts on. Reads files whole. Raises UnknownModel, UnusableModel and NotOnDisk."""
        loras, embeddings = self.library.adapters["lora"], self.library.adapters["embedding"]
        with of_field("loras"):
            worn = [loras.source(use.lora, use.weight) for use in request.loras]
        with of_field("embeddings"):
            return (*worn, *(embeddings.source(name) for name in request.embeddings))

    def outfit(self, request: GenerationRequest, model: ModelInfo) -> tuple[AdapterSource, ...]:
        """What the model wears, unless the request names it, and what the request puts on. As `adapters`."""
        named = self.adapters(request)
        taken = {each.id for each in named if each.kind == "lora"}
        with of_field("model"):
            own = [self.library.adapters["lora"].source(use.lora, use.weight) for use in model.loras]
        return (*(each for each in own if each.id not in taken), *named)

    def models(self) -> list[ModelStatus]:
        return [self.status(model) for model in self.library.models.all()]

    def status(self, model: Model) -> ModelStatus:
        info, download = model.info, self.library.downloads.running.get(model.info.id)
        if download is not None:
            return ModelStatus(model=info, state="downloading", received=download.received, size=download.size)
        if model.source is None or self._missing_loras(model):
            return ModelStatus(model=info, state="absent")
        state: ModelState = "in memory" if model.source.id in self.held.models else "on disk"
        return ModelStatus(model=info, state=state, deletable=self.library.snapshots.is_download(model.source.path))

    def listed(self, kind: AdapterKind) -> list[AdapterInfo]:
        return [adapter.info for adapter in self.library.adapters[kind].all()]

    async def load_model(self, reference: str, user: User) -> AsyncGenerator[Step]:
        """Downloads a model when it is not on disk, and what it wears, and brings it to the device; ends when it is
        there.

        Raises UnknownModel, UnusableModel, NotAllowed, HubRefused, NoRoom, Stopped, and what loading raises.
        """
        reference = self.library.models.canonical(address(reference))
        if await asyncio.to_thread(self._is_absent, reference):
            downloads = await asyncio.to_thread(self.library.download_model, reference)
            async for step in self._downloaded(reference, user, downloads, "models"):
                yield step
        for lora in await asyncio.to_thread(lambda: self._missing_loras(self.library.models.get(reference))):
            downloads = await asyncio.to_thread(self.library.download_adapter, "lora", lora)
            async for step in self._downloaded(reference, user, downloads, "files"):
                yield step
        info, source = await asyncio.to_thread(self.model, reference)
        yield Step(id=info.id, doing="loading")
        await self._warmed(source)
        yield Step(id=info.id, doing="done")

    async def unload_model(self, reference: str, user: User, delete: bool = False) -> None:
        """Frees its memory, or ends its download; with `delete`, removes from the disk what was downloaded of it.

        Raises UnknownModel, UnusableModel, NotAllowed, and InvalidRequest for what was not downloaded by the studio.
        """
        reference = self.library.models.canonical(address(reference))
        if not await self._stopped(reference, user, delete, "models") and not delete:
            await asyncio.to_thread(self.library.models.get, reference)
        await self._released(await asyncio.to_thread(self._name_in_memory, reference))
        if delete:
            await asyncio.to_thread(self.library.delete_model, reference)

    async def load_adapter(self, kind: AdapterKind, reference: str, user: User) -> AsyncGenerator[Step]:
        """Downloads it when it is not on disk, and looks into it. It changes no picture that does not name it.

        Raises what load_model raises.
        """
        reference = address(reference)
        if await asyncio.to_thread(self._lacks, kind, reference):
            downloads = await asyncio.to_thread(self.library.download_adapter, kind, reference)
            async for step in self._downloaded(reference, user, downloads, "files"):
                yield step
        yield Step(id=reference, doing="loading")
        source = await asyncio.to_thread(self.library.adapters[kind].source, reference)
        yield Step(id=source.id, doing="done")

    async def unload_adapter(self, kind: AdapterKind, reference: str, user: User, delete: bool = False) -> None:
        """Ends its download; with `delete`, removes it from the disk. Raises what unload_model raises."""
        reference = address(reference)
        if not await self._stopped(reference, user, delete, "files") and not delete:
            await asyncio.to_thread(self.library.adapters[kind].get, reference)
        if delete:
            await asyncio.to_thread(self.library.delete_adapter, kind, reference)

    async def _stopped(self, reference: str, user: User, delete: bool, what: str) -> bool:
        """Ends the download, if there is one; whether there was. Raises NotAllowed."""
        if (delete or self.library.downloads.is_on_its_way(reference)) and not user.is_administrator:
            raise NotAllowed(f"delete {what}")
        return await self.library.downloads.stop(reference)

    def note(self, report: Held | Warmed) -> None:
        """What the worker says of its memory."""
        match report:
            case Held():
                self.held = report
                facts = {"models": report.models, "bytes": report.memory}
                logger.info("Models in memory", extra={"action": "models_held", **facts})
                news, self._news = self._news, asyncio.Event()
                news.set()
            case Warmed():
                for waiting in self._warming.pop(report.model_id, []):
                    if not waiting.done():
                        waiting.set_result(report)

    def forget(self) -> None:
        """The worker is gone, with all that it held."""
        self.held = Held(models=())
        error = WorkerLost()
        for model_id in list(self._warming):
            self.note(Warmed(model_id=model_id, code=error.code, message=str(error)))

    def _is_absent(self, reference: str) -> bool:
        try:
            return self.library.models.get(reference).source is None
        except UnknownModel:
            return True

    def _missing_loras(self, model: Model) -> list[str]:
        """Of those that it wears, what is not on disk."""
        return [use.lora for use in model.info.loras if self._lacks("lora", use.lora)]

    def _name_in_memory(self, reference: str) -> str:
        """Of two models that differ in what they wear alone, the worker knows one."""
        with suppress(UnknownModel, UnusableModel):
            source = self.library.models.get(reference).source
            return reference if source is None else source.id
        return reference

    def _lacks(self, kind: AdapterKind, reference: str) -> bool:
        try:
            self.library.adapters[kind].get(reference)
        except (NotOnDisk, UnknownModel):
            return True
        return False

    async def _downloaded(
        self, reference: str, user: User, downloads: AsyncIterator[Download], what: str
    ) -> AsyncGenerator[Step]:
        if not user.is_administrator:
            raise NotAllowed(f"download {what}")
        yield Step(id=reference, doing="asking the Hub")
        async for download in downloads:
            yield Step(id=reference, doing="downloading", received=download.received, size=download.size)

    async def _released(self, model_id: str) -> None:
        """A job that runs comes first: then this does not wait for it."""
        self.worker.release(model_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while model_id in self.held.models:
                    await self._news.wait()

    async def _warmed(self, source: ModelSource) -> None:
        await self._ready()
        waiting: asyncio.Future[Warmed] = asyncio.get_running_loop().create_future()
        self._warming.setdefault(source.id, []).append(waiting)
        self.worker.warm(source)
        answer = await waiting
        if answer.message is not None:
            raise Told(answer.code or JobFailed.code, answer.message)
