"""Downloads: counted in bytes, ended at any time, and gone on with where they ended."""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from huggingface_hub import constants, hf_hub_url
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

from imagegen.errors import HubRefused, NoRoom, Stopped, in_words
from imagegen.library.hub import HubFile, Plan, told
from imagegen.library.snapshots import Snapshots
from imagegen.library.weights import digest

logger = logging.getLogger(__name__)

AT_ONCE = 4
CHUNK = 2**18
SECONDS_BETWEEN_LOOKS = 0.2
# What must be left on the disk, for pictures and for everybody else.
SPARE = 10**9


class Download:
    """One plan on its way. `received` of `size` bytes are there; those of an earlier attempt count."""

    def __init__(self, plan: Plan, snapshots: Snapshots) -> None:
        self.plan, self.folder = plan, snapshots.repository_folder(plan.repository) / "snapshots" / plan.commit
        self.received, self.size = 0, plan.size
        self._counting, self._stopped = threading.Lock(), threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def check(self, limit: int) -> None:
        """Before the first byte: whether it may come, and whether it fits. Raises NoRoom and HubRefused."""
        if self.size > limit:
            raise NoRoom(self.plan.reference, self.size, f"downloads may be {in_words(limit)} here (max_download_gb)")
        with told(self.plan.reference):
            self.folder.mkdir(parents=True, exist_ok=True)
        missing = sum(file.size - here(self.folder / file.path) for file in self.plan.files)
        free = shutil.disk_usage(self.folder).free
        if missing + SPARE > free:
            raise NoRoom(self.plan.reference, self.size, f"the disk has {in_words(free)} left")

    def run(self) -> None:
        """Brings all files, the small ones first; each is put in its place when it is whole.

        Raises HubRefused and Stopped.
        """
        with told(self.plan.reference), ThreadPoolExecutor(AT_ONCE, "download") as pool:
            try:
                list(pool.map(self._bring, sorted(self.plan.files, key=lambda file: file.size)))
            except BaseException:
                self.stop()  # The others need not go on.
                raise

    def _bring(self, file: HubFile) -> None:
        place = self.folder / file.path
        if place.exists() and place.stat().st_size == file.size:
            self._count(file.size)
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_of(place)
        with partial.open("ab") as opened:
            self._count(opened.tell())
            http_get(
                hf_hub_url(self.plan.repository, file.path, revision=self.plan.commit),
                opened,
                resume_size=opened.tell(),
                headers=build_hf_headers(),
                expected_size=file.size,
                tqdm_class=counting(self._count),
            )
        self._verify(file, partial)
        partial.rename(place)

    def _verify(self, file: HubFile, partial: Path) -> None:
        """What is wrong once must not be gone on with."""
        if partial.stat().st_size != file.size or (file.sha256 is not None and digest(partial) != file.sha256):
            partial.unlink()
            raise HubRefused(self.plan.reference, f"{file.path} came damaged; please try again")

    def _count(self, size: int) -> None:
        if self._stopped.is_set():
            raise Stopped
        with self._counting:
            self.received = min(self.received + size, self.size)


def partial_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.partial")


def here(place: Path) -> int:
    """How many bytes of a file are there."""
    return next((path.stat().st_size for path in (place, partial_of(place)) if path.exists()), 0)


def counting(count: Callable[[int], None]) -> Any:
    """What the Hub's client takes for a progress bar."""

    class Bar:
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, size: int) -> None:
            count(size)

    return Bar


class Downloads:
    """All that are on their way. Whoever asks for the same follows the same; each goes on when nobody looks."""

    def __init__(self, snapshots: Snapshots, limit: int) -> None:
        self.snapshots, self.limit = snapshots, limit
        # The Hub's client hands over and counts 10 MB at a time, which a slow line takes minutes for.
        constants.DOWNLOAD_CHUNK_SIZE = CHUNK
        self.running: dict[str, Download] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._unwanted: set[str] = set()
        self._locks: dict[str, asyncio.Lock] = {}

    async def follow(self, reference: str, plan: Callable[[], Plan]) -> AsyncIterator[Download]:
        """Starts it, or joins it, and tells again and again how far it is, until it is whole.

        Raises HubRefused, UnusableModel, NoRoom and Stopped.
        """
        task = self._tasks.get(reference)
        if task is None:
            task = self._tasks[reference] = asyncio.create_task(self._run(reference, plan))
            task.add_done_callback(lambda _: self._ended(reference))
        while not task.done():
            await asyncio.wait({task}, timeout=SECONDS_BETWEEN_LOOKS)
            if reference in self.running:
                yield self.running[reference]
        await task

    def is_on_its_way(self, reference: str) -> bool:
        return reference in self._tasks

    async def stop(self, reference: str) -> bool:
        """Ends it, and waits until it has; whether there was anything to stop."""
        task = self._tasks.get(reference)
        if task is None:
            return False
        self._unwanted.add(reference)
        if reference in self.running:
            self.running[reference].stop()
        await asyncio.wait({task})
        return True

    async def close(self) -> None:
        """Stops all of them, and waits until they have."""
        await asyncio.gather(*(self.stop(reference) for reference in list(self._tasks)))

    async def _run(self, reference: str, plan: Callable[[], Plan]) -> None:
        download = Download(await asyncio.to_thread(plan), self.snapshots)
        # The same files may be asked for under two names: the second finds them in their place.
        async with self._locks.setdefault(download.plan.repository, asyncio.Lock()):
            if reference in self._unwanted:
                raise Stopped
            await asyncio.to_thread(download.check, self.limit)
            self.running[reference] = download
            facts = {"reference": reference, "commit": download.plan.commit, "bytes": download.size}
            logger.info("Download started", extra={"action": "download_started", **facts})
            try:
                await asyncio.to_thread(download.run)
            finally:
                del self.running[reference]
            logger.info("Download finished", extra={"action": "download_finished", **facts})

    def _ended(self, reference: str) -> None:
        del self._tasks[reference]
        self._unwanted.discard(reference)
