"""`python -m bench.idle_studio`, with the flags of app.py: the studio with an engine that costs nothing.

Each job emits 20 progress events and ends at once with the same small picture: the rest is the cost of the APIs.
"""

from __future__ import annotations

from PIL import Image

import app
from imagegen.schema.events import Progress, Result
from imagegen.schema.receipt import Picture, Receipt
from imagegen.storage.files import ImageStore
from imagegen.workers.command_worker import CommandWorker
from imagegen.workers.messages import Command, JobEvent, JobOrder, WorkerConfig, WorkerReady

STEPS = 20
SIDE = 64
RECEIPT = Receipt(
    prompt="a red circle",
    negative_prompt="",
    width=SIDE,
    height=SIDE,
    steps=STEPS,
    guidance_scale=3.0,
    sampler="DPM++ 2M",
    seed=7,
    clip_skip=0,
    init_image=None,
    strength=None,
    model_id="embedded",
    device="cpu",
    dtype="float32",
    versions={"torch": "none"},
)


class NoOpWorker(CommandWorker):
    def __init__(self, load: WorkerConfig) -> None:
        super().__init__(load)
        self._picture: Picture = ImageStore(load.data_dir).write_picture(Image.new("RGB", (SIDE, SIDE), "red"), RECEIPT)

    async def start(self) -> None:
        self._reports.put_nowait(WorkerReady(worker=self.config.name, device="cpu", dtype="float32"))

    async def stop(self) -> None:
        self._reports.put_nowait(None)

    def _send(self, command: Command) -> None:
        if not isinstance(command, JobOrder):
            return
        steps = [Progress(step=step, steps=STEPS, seconds_left=0.0) for step in range(1, STEPS + 1)]
        for event in (*steps, Result(pictures=(self._picture,), latency_ms=0)):
            self._reports.put_nowait(JobEvent(worker=self.config.name, job_id=command.job_id, event=event))


def main() -> None:
    app.WORKER_CLASSES["local"] = NoOpWorker  # type: ignore[assignment]
    app.main()


if __name__ == "__main__":
    main()
