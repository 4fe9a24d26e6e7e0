"""What happens before each tile of an upscaler: progress, cancelling, and ending early."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from imagegen.engine.job import JobControl
from imagegen.schema.events import Progress


class EndedEarly(Exception):
    """The job ends with the pictures of the stage before."""


@dataclass
class TileProgress:
    """Emits Progress after each of the `steps` tiles of a stage. `stage` is its number, of `stages`."""

    control: JobControl
    emit: Callable[[Progress], None]
    steps: int
    stage: int = 1
    stages: int = 1
    # The tiles that are done.
    step: int = -1
    started_at: float = field(default_factory=time.monotonic)

    def start_tile(self) -> None:
        """Raises JobInterrupted, and EndedEarly if a stage before has painted what can be kept."""
        self.control.raise_if_cancelled()
        if self.stage > 1 and self.control.finish_requested.is_set():
            raise EndedEarly
        self._report()

    def finish(self) -> None:
        self._report()

    def _report(self) -> None:
        self.step += 1
        if self.step:
            seconds_left = (time.monotonic() - self.started_at) / self.step * (self.steps - self.step)
            self.emit(
                Progress(
                    step=self.step,
                    steps=self.steps,
                    stage=self.stage,
                    stages=self.stages,
                    seconds_left=seconds_left,
                )
            )
