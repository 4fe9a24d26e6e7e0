"""`python -m bench.idle_studio`, with the flags of app.py: the studio with an engine that costs nothing.

Each job ends at once, after 20 events of progress, with the same small picture: what is left is the cost of the doors.
"""

from __future__ import annotations

from PIL import Image

import app
from imagegen.images import ImageStore
from imagegen.schema import Picture, Progress, Receipt, Result
from imagegen.workers.messages import JobEvent, Load, Order, Run, WorkerReady
from imagegen.workers.ordered import OrderedWorker

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


class IdleWorker(OrderedWorker):
    def __init__(self, load: Load) -> None:
        super().__init__(load)
        self._picture: Picture = ImageStore(load.data_dir).write(Image.new("RGB", (SIDE, SIDE), "red"), RECEIPT)

    async def start(self) -> None:
        self._reports.put_nowait(WorkerReady(device="cpu", dtype="float32"))

    async def stop(self) -> None:
        self._reports.put_nowait(None)

    def _order(self, order: Order) -> None:
        if not isinstance(order, Run):
            return
        steps = [Progress(step=step, steps=STEPS, seconds_left=0.0) for step in range(1, STEPS + 1)]
        for event in (*steps, Result(pictures=(self._picture,), latency_ms=0)):
            self._reports.put_nowait(JobEvent(job_id=order.job_id, event=event))


def main() -> None:
    app.WORKERS["local"] = IdleWorker  # type: ignore[assignment]
    app.main()


if __name__ == "__main__":
    main()
