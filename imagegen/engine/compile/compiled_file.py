"""Files of compiled networks, shared by several processes: each is compiled once, and appears when it is complete."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

# Seconds between two attempts to take the lock of a network that another process compiles, for minutes.
LOCK_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class CompiledFile:
    """`path` is the code of a network, a `.pt2` file."""

    path: Path

    @property
    def constants_path(self) -> Path:
        """The path of the constants that are in the network's code, not in its weights."""
        return self.path.with_suffix(".safetensors")

    @property
    def partial(self) -> CompiledFile:
        """The files that this process writes. `publish` gives them their final names."""
        return CompiledFile(self.path.with_name(f"{os.getpid()}-{self.path.name}"))

    def publish(self) -> None:
        """Renames the partial files of this process: the constants first, so that they exist when the code does."""
        self.partial.constants_path.rename(self.constants_path)
        self.partial.path.rename(self.path)

    def compile_once(self, compile_network: Callable[[], None]) -> None:
        """Calls `compile_network`, which writes the files, unless they exist. Raises what it raises.

        While another process compiles them, waits for that process to finish or to die, which releases its lock.
        Deletes partial files, also those of a process that died.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock"), poll_interval=LOCK_POLL_SECONDS):
            if self.path.exists():
                return
            self._delete_partial_files()
            try:
                compile_network()
            finally:
                self._delete_partial_files()

    def mark_used(self) -> None:
        """Sets the times of the files to now: files that nobody used for long are deleted."""
        for file in (self.path, self.constants_path):
            file.touch()

    def _delete_partial_files(self) -> None:
        for file in self.path.parent.glob(f"*-{self.path.stem}.*"):
            file.unlink(missing_ok=True)
