"""Creates and checks the folders of the settings, and lets one studio at a time use a data folder."""

from __future__ import annotations

import errno
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from imagegen.errors import FolderInUse, FolderUnusable

logger = logging.getLogger(__name__)

LOCK_FILE = "studio.lock"
# Some network file systems have no locks.
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


def create_folder(folder: Path, flag: str) -> None:
    """Creates a folder if it does not exist. `flag` is the setting that names it. Raises FolderUnusable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with os.scandir(folder):
            pass
    except OSError as error:
        raise FolderUnusable(folder, describe_os_error(error, folder), flag) from error


def check_writable(folder: Path, flag: str) -> None:
    """Writes to a file in the folder, and removes it. Raises FolderUnusable."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
    except OSError as error:
        raise FolderUnusable(folder, describe_os_error(error, folder), flag) from error


@contextmanager
def hold_data_folder(folder: Path) -> Iterator[None]:
    """Creates the data folder, and holds its lock: no other studio can use it meanwhile.

    The kernel releases the lock when the process ends, however it ends. Raises FolderInUse and FolderUnusable.
    """
    create_folder(folder, "--data-dir")
    check_writable(folder, "--data-dir")
    lock = FileLock(folder / LOCK_FILE, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FolderInUse(folder) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise FolderUnusable(folder, describe_os_error(error, folder), "--data-dir") from error
        logger.warning(
            "The file system of the data folder has no locks: make sure that no other studio uses it",
            extra={"action": "no_lock", "folder": str(folder)},
        )
    try:
        yield
    finally:
        lock.release()


def describe_os_error(error: OSError, folder: Path) -> str:
    """Returns the problem in the words of the operating system, with the file if it is not the folder itself."""
    if isinstance(error, FileExistsError):
        return "it is not a folder"
    if isinstance(error, NotADirectoryError):
        return "a part of its path is not a folder"
    reason = (error.strerror or type(error).__name__).lower()
    return reason if error.filename in (None, str(folder)) else f"{reason}: {error.filename}"
