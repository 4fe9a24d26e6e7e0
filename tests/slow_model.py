"""A model whose loading waits for the test."""

from __future__ import annotations

import os
import time
from pathlib import Path

SECONDS = 60


class SlowModel:
    """Makes the loading of the model in a folder wait until `let_go`.

    It gets one more configuration, which is a pipe. Only the loader reads it.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "waiting" / "generation_config.json"
        self._pipe: int | None = None
        self.content = b"{}"
        self._file.parent.mkdir()
        os.mkfifo(self._file)

    def wait_until_it_is_read(self) -> None:
        """A pipe can be opened for writing while it is open for reading. Raises OSError."""
        end = time.monotonic() + SECONDS
        while self._pipe is None:
            try:
                self._pipe = os.open(self._file, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def let_go(self) -> None:
        """Lets this read and all later ones go on, with `content`."""
        self._file.unlink()
        self._file.write_bytes(self.content)
        if self._pipe is not None:
            os.write(self._pipe, self.content)
            os.close(self._pipe)
            self._pipe = None
