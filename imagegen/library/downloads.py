"""Downloads that report bytes, stop at any time, and resume from partial files."""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from huggingface_hub import constants
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

from imagegen.errors import DownloadStopped, HubRequestFailed, InsufficientStorage
from imagegen.library.checksums import Checksums
from imagegen.library.hub import DownloadPlan, HubFile, map_hub_exceptions
from imagegen.library.snapshots import Snapshots
from imagegen.library.weight_files import compute_sha256
from imagegen.schema.models import DownloadStatus
from imagegen.text import format_bytes

logger = logging.getLogger(__name__)

MAX_PARALLEL_FILES = 4
CHUNK_BYTES = 2**18
PROGRESS_INTERVAL_SECONDS = 0.2
# Bytes that must stay free on the disk after a download.
RESERVED_DISK_BYTES = 10**9


class Download:
    """The download of one plan. `received` counts the bytes on disk, of `size` in all, including earlier attempts."""

    def __init__(self, plan: DownloadPlan, snapshots: Snapshots, checksums: Checksums) -> None:
        self.checksums = checksums
        self.plan, self.folder = plan, snapshots.get_repository_folder(plan.repository) / "snapshots" / plan.commit
        self.received, self.size = 0, plan.size
        self._count_lock, self._stop_event = threading.Lock(), threading.Event()

    def stop(self) -> None:
        """Makes `run` raise DownloadStopped at the next chunk. May be called from any thread."""
        self._stop_event.set()

    def check_limits(self, max_bytes: int) -> None:
        """Checks the size and the free disk space. Raises InsufficientStorage and HubRequestFailed."""
        if self.size > max_bytes:
            raise InsufficientStorage(
                self.plan.reference, self.size, f"downloads may be {format_bytes(max_bytes)} here (max_download_gb)"
            )
        with map_hub_exceptions(self.plan.reference):
            self.folder.mkdir(parents=True, exist_ok=True)
        missing = sum(file.size - measure_received(self.folder / file.path) for file in self.plan.files)
        free = shutil.disk_usage(self.folder).free
        if missing + RESERVED_DISK_BYTES > free:
            raise InsufficientStorage(self.plan.reference, self.size, f"the disk has {format_bytes(free)} left")

    def run(self) -> None:
        """Downloads all files, smallest first. Each is renamed to its final name when it is complete and verified.

        Blocks until the end. Raises HubRequestFailed and DownloadStopped.
        """
        with map_hub_exceptions(self.plan.reference), ThreadPoolExecutor(MAX_PARALLEL_FILES, "download") as pool:
            try:
                list(pool.map(self._download_file, sorted(self.plan.files, key=lambda file: file.size)))
            except BaseException:
                self.stop()  # Stops the other threads.
                raise

    def _download_file(self, file: HubFile) -> None:
        target = self.folder / file.path
        if target.exists() and target.stat().st_size == file.size:
            self._add_received(file.size)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = get_partial_path(target)
        with partial.open("ab") as stream:
            self._add_received(stream.tell())
            http_get(
                file.url,
                stream,
                resume_size=stream.tell(),
                headers=build_hf_headers(),
                expected_size=file.size,
                tqdm_class=create_progress_class(self._add_received),
            )
        self._verify(file, partial)
        partial.rename(target)
        if file.sha256 is not None:
            self.checksums.record(target, file.sha256)

    def _verify(self, file: HubFile, partial: Path) -> None:
        """Deletes a file of wrong size or checksum, so that no later attempt resumes it. Raises HubRequestFailed."""
        if partial.stat().st_size != file.size or (file.sha256 is not None and compute_sha256(partial) != file.sha256):
            partial.unlink()
            raise HubRequestFailed(self.plan.reference, f"{file.path} arrived damaged; please try again")

    def _add_received(self, size: int) -> None:
        if self._stop_event.is_set():
            raise DownloadStopped
        with self._count_lock:
            self.received = min(self.received + size, self.size)


def get_partial_path(target: Path) -> Path:
    """Returns the path under which an incomplete file is stored."""
    return target.with_name(f"{target.name}.partial")


def measure_received(target: Path) -> int:
    """Returns how many bytes of a file are on disk, complete or partial."""
    return next((path.stat().st_size for path in (target, get_partial_path(target)) if path.exists()), 0)


def create_progress_class(on_received: Callable[[int], None]) -> Any:
    """Returns a class with the part of tqdm's interface that the Hub's client uses; it reports bytes."""

    class ProgressBar:
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def __enter__(self) -> ProgressBar:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, size: int) -> None:
            on_received(size)

    return ProgressBar


class DownloadManager:
    """All running downloads. Callers with the same reference share one; it continues when all of them have left."""

    def __init__(self, snapshots: Snapshots, checksums: Checksums, max_bytes: int) -> None:
        self.snapshots, self.checksums, self.max_bytes = snapshots, checksums, max_bytes
        # The Hub's client reads and reports 10 MB at a time; on a slow line that takes minutes.
        constants.DOWNLOAD_CHUNK_SIZE = CHUNK_BYTES
        self.running: dict[str, Download] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # What each one downloads: "model", "lora" or "embedding".
        self._kinds: dict[str, str] = {}
        self._stop_requested: set[str] = set()
        self._locks: dict[str, asyncio.Lock] = {}

    async def follow(self, kind: str, reference: str, plan: Callable[[], DownloadPlan]) -> AsyncIterator[Download]:
        """Starts or joins a download, and yields it every PROGRESS_INTERVAL_SECONDS until it is complete.

        Raises HubRequestFailed, UnusableModel, InsufficientStorage and DownloadStopped.
        """
        task = self._tasks.get(reference)
        if task is None:
            task = self._tasks[reference] = asyncio.create_task(self._run(reference, plan))
            self._kinds[reference] = kind
            task.add_done_callback(lambda _: self._discard_task(reference))
        while not task.done():
            await asyncio.wait({task}, timeout=PROGRESS_INTERVAL_SECONDS)
            if reference in self.running:
                yield self.running[reference]
        await task

    def list_all(self) -> list[DownloadStatus]:
        """Returns the downloads that are planned or running, the oldest first."""
        return [self._describe(kind, reference) for reference, kind in self._kinds.items()]

    def is_downloading(self, reference: str) -> bool:
        """Returns whether a download is planned or running."""
        return reference in self._tasks

    async def stop(self, reference: str) -> bool:
        """Stops the download and waits until its thread has ended. Returns whether there was one."""
        task = self._tasks.get(reference)
        if task is None:
            return False
        self._stop_requested.add(reference)
        if reference in self.running:
            self.running[reference].stop()
        await asyncio.wait({task})
        return True

    async def close(self) -> None:
        """Stops all downloads and waits until they have ended."""
        await asyncio.gather(*(self.stop(reference) for reference in list(self._tasks)))

    async def _run(self, reference: str, plan: Callable[[], DownloadPlan]) -> None:
        download = Download(await asyncio.to_thread(plan), self.snapshots, self.checksums)
        # Two references may name the same repository: the second download then finds the files on disk.
        async with self._locks.setdefault(download.plan.repository, asyncio.Lock()):
            if reference in self._stop_requested:
                raise DownloadStopped
            await asyncio.to_thread(download.check_limits, self.max_bytes)
            self.running[reference] = download
            log_fields = {"reference": reference, "commit": download.plan.commit, "bytes": download.size}
            logger.info("Download started", extra={"action": "download_started", **log_fields})
            try:
                await asyncio.to_thread(download.run)
            finally:
                del self.running[reference]
            logger.info("Download finished", extra={"action": "download_finished", **log_fields})

    def _describe(self, kind: str, reference: str) -> DownloadStatus:
        download = self.running.get(reference)
        if download is None:
            return DownloadStatus(kind=kind, id=reference)
        return DownloadStatus(kind=kind, id=reference, received=download.received, size=download.size)

    def _discard_task(self, reference: str) -> None:
        del self._tasks[reference], self._kinds[reference]
        self._stop_requested.discard(reference)
