"""`python -m bench.contenders NAME MODEL FOLDER`: one contender, in a process of its own, that does as it is told.

It reads orders on standard input and answers on standard output, one JSON object a line. Contenders:
ours: the engine, as the studio runs it.
plain: the stock pipeline, called once for each picture, as its documentation shows.
by hand: the same with all that the documentation of diffusers advises: fused projections, channels_last, and on a GPU
compiled networks and decoding in half precision; no previews, no progress.
"""

from __future__ import annotations

import argparse
import json
import queue
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoPipelineForText2Image
from PIL import Image

from bench.floors import operations, peak, synchronise
from bench.loads import Contender, Load, Told
from bench.networks import source_of
from bench.processes import looks_at_memory, resident_mb
from imagegen.engine.devices import chosen_device, dtype_for
from imagegen.engine.engine import Control, Engine, Finished, Happening, Work
from imagegen.engine.samplers import scheduler_for
from imagegen.info import ModelSource
from imagegen.schema import Cancelled, GenerationRequest, Progress

FEW = 4


class Ours:
    """`compiled` is where networks are kept that were compiled; None compiles none."""

    def __init__(self, source: ModelSource, device: str, compiled: Path | None) -> None:
        self.source, self.engine = source, Engine(device, compiled=compiled)
        self.engine.warm(source)
        self._over = threading.Event()

    def is_settled(self) -> bool:
        """Whether it will not get any quicker."""
        shared = self.engine.store.held[self.source.id].shared
        assert shared is not None
        ways = [way for network in shared.networks.values() for way in network.quick.ways.values()]
        return all(way.compiling is None for way in ways)

    def work(self) -> None:
        """The engine has a thread of its own."""
        self._over.wait()

    def stop(self) -> None:
        self._over.set()

    @property
    def passes(self) -> int:
        return self.engine.stopwatch.passes

    def peak_mb(self) -> float | None:
        return self.engine.stopwatch.peak_mb()

    def begin(self, request: GenerationRequest, control: Control, tell: Told) -> Future[Image.Image | None]:
        result: Future[Image.Image | None] = Future()

        def say(event: Happening) -> None:
            match event:
                case Progress():
                    tell("step")
                    if event.preview is not None:
                        tell("preview")
                case Finished():
                    tell("done")
                    result.set_result(event.images[0])
                case Cancelled():
                    tell("cancelled")
                    result.set_result(None)

        ended = self.engine.submit(Work(request, self.source), control, say)

        def over(_: Future[None]) -> None:
            if (error := ended.exception()) is not None:
                result.set_exception(error)

        ended.add_done_callback(over)
        return result


class Stock:
    """One pipeline, called for one picture after another."""

    def __init__(self, source: ModelSource, device: str, compiled: Path | None) -> None:
        self.device = chosen_device(device)
        dtype = dtype_for(self.device)
        self.pipeline: Any = AutoPipelineForText2Image.from_pretrained(source.path, dtype=dtype).to(self.device)
        self.pipeline.set_progress_bar_config(disable=True)
        self.config = self.pipeline.scheduler.config
        self.passes = 0
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def is_settled(self) -> bool:
        """What it compiles it compiles at once."""
        return True

    def work(self) -> None:
        while (order := self._orders.get()) is not None:
            order()

    def stop(self) -> None:
        self._orders.put(None)

    def peak_mb(self) -> float | None:
        if self.device.type != "cuda":
            return None
        peak = torch.cuda.max_memory_reserved() / 2**20
        torch.cuda.reset_peak_memory_stats()
        return peak

    def begin(self, request: GenerationRequest, control: Control, tell: Told) -> Future[Image.Image | None]:
        result: Future[Image.Image | None] = Future()

        def order() -> None:
            try:
                result.set_result(self.picture(request, control, tell))
            except Exception as error:
                result.set_exception(error)

        self._orders.put(order)
        return result

    def picture(self, request: GenerationRequest, control: Control, tell: Told) -> Image.Image | None:
        if control.cancelled.is_set():
            tell("cancelled")
            return None
        assert request.sampler is not None
        self.pipeline.scheduler = scheduler_for(request.sampler, self.config)

        def step(pipeline: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            self.passes += 1
            tell("step")
            pipeline._interrupt = control.cancelled.is_set()  # noqa: SLF001 Its own documentation says so.
            return {}

        output = self.pipeline(
            request.prompt,
            width=request.width,
            height=request.height,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(request.seed or 0),
            callback_on_step_end=step,
        )
        self.passes += 1
        tell("cancelled" if control.cancelled.is_set() else "done")
        picture: Image.Image = output.images[0]
        return None if control.cancelled.is_set() else picture


class ByHand(Stock):
    """https://huggingface.co/docs/diffusers/optimization/fp16, from top to bottom."""

    def __init__(self, source: ModelSource, device: str, compiled: Path | None) -> None:
        super().__init__(source, device, compiled)
        self.pipeline.fuse_qkv_projections(vae=isinstance(self.pipeline.vae, AutoencoderKL))
        for name in ("unet", "vae"):
            getattr(self.pipeline, name).to(memory_format=torch.channels_last)
        if self.device.type == "cuda" or compiled is not None:
            mode = "max-autotune" if self.device.type == "cuda" else "default"
            options: dict[str, Any] = {"mode": mode, "fullgraph": True}
            self.pipeline.unet = torch.compile(self.pipeline.unet, **options)
            self.pipeline.vae.decode = torch.compile(self.pipeline.vae.decode, **options)


Made = Callable[[ModelSource, str, Path | None], Contender]
CONTENDERS: dict[str, Made] = {"ours": Ours, "plain": Stock, "by hand": ByHand}


class Session:
    """What a contender can be told to do."""

    def __init__(self, contender: Contender, device: torch.device) -> None:
        self.contender, self.device = contender, device

    def serve(self, answers: TextIO) -> None:
        """Does as standard input says, until that ends. What goes wrong ends the contender too."""
        try:
            for text in sys.stdin:
                order = json.loads(text)
                answer = getattr(self, order.pop("do"))(**order)
                print(json.dumps(answer), file=answers, flush=True)
        finally:
            answers.close()
            self.contender.stop()

    def facts(self, side: int, steps: int) -> dict[str, Any]:
        pipeline = getattr(self.contender, "pipeline", None)
        assert pipeline is not None, "only a stock pipeline is counted"
        dtype = dtype_for(self.device)
        counted = operations(pipeline, side, steps)
        return {"operations": counted, "peak": peak(self.device, dtype), "dtype": str(dtype).removeprefix("torch.")}

    def single(self, request: dict[str, Any], save: str | None = None) -> dict[str, Any]:
        began = time.perf_counter()
        control = Control(threading.Event(), threading.Event())
        picture = self.contender.begin(GenerationRequest.model_validate(request), control, lambda _: None).result()
        synchronise(self.device)
        seconds = time.perf_counter() - began
        if save is not None:
            np.save(save, np.asarray(picture))
        return {"seconds": seconds}

    def settle(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Makes pictures until it will not get any quicker; at least four, so that it has noticed that it could."""
        began, pictures = time.perf_counter(), 0
        while pictures < FEW or (time.perf_counter() - began < seconds and not self.contender.is_settled()):
            self.single(request)
            pictures += 1
        return {"settled": self.contender.is_settled()}

    def load(
        self,
        arrivals: list[tuple[float, dict[str, Any]]],
        users: int = 0,
        impatience: int = 0,
        save: str | None = None,
    ) -> dict[str, Any]:
        """See bench.loads: with users they ask in turn, without they come by the clock."""
        load = Load(self.contender, arrivals, impatience)
        return self._watched(load, lambda: load.closed(users) if users else load.open(), save)

    def join(self, arrivals: list[tuple[float, dict[str, Any]]], steps: int) -> dict[str, Any]:
        load = Load(self.contender, arrivals, impatience=0)
        return self._watched(load, lambda: load.joined(steps))

    def _watched(self, load: Load, run: Callable[[], Any], save: str | None = None) -> dict[str, Any]:
        """Memory is in MiB: the process's own, at its most and afterwards, and the GPU's at its most."""
        before = self.contender.passes
        with looks_at_memory() as seen:
            happenings = run()
        if save is not None:
            np.save(save, np.asarray(load.first))
        return {
            "happenings": happenings,
            "passes": self.contender.passes - before,
            "most resident": max(seen),
            "resident": resident_mb(),
            "peak of the GPU": self.contender.peak_mb(),
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.contenders", description=__doc__)
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("model")
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--compile", type=Path, help="compile networks, and keep them in this folder")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    answers, sys.stdout = sys.stdout, sys.stderr
    began, empty = time.perf_counter(), resident_mb()
    contender = CONTENDERS[arguments.name](
        source_of(arguments.model, arguments.scratch), arguments.device, arguments.compile
    )
    session = Session(contender, chosen_device(arguments.device))
    started = {"loaded": time.perf_counter() - began, "resident empty": empty, "resident": resident_mb()}
    print(json.dumps(started), file=answers, flush=True)
    threading.Thread(target=session.serve, args=(answers,)).start()
    contender.work()


if __name__ == "__main__":
    main()
