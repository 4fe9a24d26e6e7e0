"""Watches the free space of the disk with the data folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from imagegen.errors import StorageFull


class DiskSpace:
    """`min_free_gb` is the space that must stay free, in units of 10^9 bytes. Both methods read the disk."""

    def __init__(self, folder: Path, min_free_gb: float) -> None:
        self.folder, self.min_free_bytes = folder, min_free_gb * 1e9

    def find_problem(self) -> StorageFull | None:
        """Returns the error that new jobs get, None if there is enough space."""
        return StorageFull() if shutil.disk_usage(self.folder).free < self.min_free_bytes else None

    def check(self) -> None:
        """Raises StorageFull."""
        if (problem := self.find_problem()) is not None:
            raise problem
