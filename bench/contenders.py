"""`python -m bench.contenders NAME MODEL FOLDER`: a process that generates pictures in one way, on command.

Reads commands from standard input and writes replies to standard output, one JSON object per line. Contenders:
ours: the engine, as the studio runs it.
plain: the stock pipeline, called once per picture, as its documentation shows.
by hand: the stock pipeline with all optimizations that the documentation of diffusers recommends: fused projections,
channels_last, and on a GPU compiled networks and decoding in half precision; no previews and no progress.
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

from bench.create_models import get_source
from bench.load_generator import Contender, EventCallback, LoadGenerator
from bench.processes import resident_mb, sample_memory
from bench.roofline import count_flops, measure_peak_flops, synchronise
from imagegen.engine.devices import choose_device, choose_dtype
from imagegen.engine.engine import Engine, EngineEvent, EngineResult, JobControl, JobInputs
from imagegen.engine.samplers import create_scheduler
from imagegen.schema.events import Cancelled, Progress
from imagegen.schema.models import ModelSource
from imagegen.schema.request import GenerationRequest

MIN_SETTLE_PICTURES = 4


class EngineContender:
    """The engine. `compiled` is its cache of compiled networks; None compiles nothing."""

    def __init__(self, source: ModelSource, device: str, compiled: Path | None) -> None:
        self.source, self.engine = source, Engine(device, compile_folder=compiled)
        self.engine.warm(source)
        self._stopped = threading.Event()

    def is_settled(self) -> bool:
        """Returns whether no network is being compiled any more."""
        shared = self.engine.store.models[self.source.id].shared_networks
        assert shared is not None
        variants = [
            variant for network in shared.networks.values() for variant in network.accelerator.variants.values()
        ]
        return all(variant.pending_compile is None for variant in variants)

    def run(self) -> None:
        """Waits for `stop`: the engine has its own thread."""
        self._stopped.wait()

    def stop(self) -> None:
        self._stopped.set()

    @property
    def passes(self) -> int:
        return self.engine.pass_timer.passes

    def peak_mb(self) -> float | None:
        return self.engine.pass_timer.get_peak_mb()

    def start_picture(
        self, request: GenerationRequest, control: JobControl, on_event: EventCallback
    ) -> Future[Image.Image | None]:
        result: Future[Image.Image | None] = Future()

        def forward_event(event: EngineEvent) -> None:
            match event:
                case Progress():
                    on_event("step")
                    if event.preview is not None:
                        on_event("preview")
                case EngineResult():
                    on_event("done")
                    result.set_result(event.images[0])
                case Cancelled():
                    on_event("cancelled")
                    result.set_result(None)

        ended = self.engine.submit(JobInputs(request, self.source), control, forward_event)

        def propagate_error(_: Future[None]) -> None:
            if (error := ended.exception()) is not None:
                result.set_exception(error)

        ended.add_done_callback(propagate_error)
        return result


class PipelineContender:
    """A stock pipeline that generates one picture after another."""

    def __init__(self, source: ModelSource, device: str, compiled: Path | None) -> None:
        self.device = choose_device(device)
        dtype = choose_dtype(self.device)
        self.pipeline: Any = AutoPipelineForText2Image.from_pretrained(source.path, dtype=dtype).to(self.device)
        self.pipeline.set_progress_bar_config(disable=True)
        self.config = self.pipeline.scheduler.config
        self.passes = 0
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def is_settled(self) -> bool:
        """Returns True: networks are compiled by their first pass."""
        return True

    def run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()

    def stop(self) -> None:
        self._tasks.put(None)

    def peak_mb(self) -> float | None:
        if self.device.type != "cuda":
            return None
        peak = torch.cuda.max_memory_reserved() / 2**20
        torch.cuda.reset_peak_memory_stats()
        return peak

    def start_picture(
        self, request: GenerationRequest, control: JobControl, on_event: EventCallback
    ) -> Future[Image.Image | None]:
        result: Future[Image.Image | None] = Future()

        def run_pipeline() -> None:
            try:
                result.set_result(self.generate_picture(request, control, on_event))
            except Exception as error:
                result.set_exception(error)

        self._tasks.put(run_pipeline)
        return result

    def generate_picture(
        self, request: GenerationRequest, control: JobControl, on_event: EventCallback
    ) -> Image.Image | None:
        if control.cancelled.is_set():
            on_event("cancelled")
            return None
        assert request.sampler is not None
        self.pipeline.scheduler = create_scheduler(request.sampler, self.config)

        def on_step_end(pipeline: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            self.passes += 1
            on_event("step")
            pipeline._interrupt = control.cancelled.is_set()  # noqa: SLF001 As the documentation recommends.
            return {}

        output = self.pipeline(
            request.prompt,
            width=request.width,
            height=request.height,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(request.seed or 0),
            callback_on_step_end=on_step_end,
        )
        self.passes += 1
        on_event("cancelled" if control.cancelled.is_set() else "done")
        picture: Image.Image = output.images[0]
        return None if control.cancelled.is_set() else picture


class OptimizedPipelineContender(PipelineContender):
    """The optimizations of https://huggingface.co/docs/diffusers/optimization/fp16."""

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


ContenderFactory = Callable[[ModelSource, str, Path | None], Contender]
CONTENDERS: dict[str, ContenderFactory] = {
    "ours": EngineContender,
    "plain": PipelineContender,
    "by hand": OptimizedPipelineContender,
}


class Session:
    """The commands of a contender: each method is one."""

    def __init__(self, contender: Contender, device: torch.device) -> None:
        self.contender, self.device = contender, device

    def serve(self, replies: TextIO) -> None:
        """Executes commands from standard input until it ends. An error ends the contender as well."""
        try:
            for text in sys.stdin:
                command = json.loads(text)
                reply = getattr(self, command.pop("do"))(**command)
                print(json.dumps(reply), file=replies, flush=True)
        finally:
            replies.close()
            self.contender.stop()

    def facts(self, side: int, steps: int) -> dict[str, Any]:
        """Returns the operations of a picture, the device's peak operations per second, and the dtype."""
        pipeline = getattr(self.contender, "pipeline", None)
        assert pipeline is not None, "only a stock pipeline is counted"
        dtype = choose_dtype(self.device)
        flops = count_flops(pipeline, side, steps)
        return {
            "operations": flops,
            "peak": measure_peak_flops(self.device, dtype),
            "dtype": str(dtype).removeprefix("torch."),
        }

    def single(self, request: dict[str, Any], save: str | None = None) -> dict[str, Any]:
        """Generates one picture and returns the seconds; `save` is a .npy file for its pixels."""
        began = time.perf_counter()
        control = JobControl(threading.Event(), threading.Event())
        picture = self.contender.start_picture(
            GenerationRequest.model_validate(request), control, lambda _: None
        ).result()
        synchronise(self.device)
        seconds = time.perf_counter() - began
        if save is not None:
            np.save(save, np.asarray(picture))
        return {"seconds": seconds}

    def settle(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Generates pictures until the contender is settled, or `seconds` have passed.

        At least MIN_SETTLE_PICTURES, because compiling begins only after some passes.
        """
        began, pictures = time.perf_counter(), 0
        while pictures < MIN_SETTLE_PICTURES or (
            time.perf_counter() - began < seconds and not self.contender.is_settled()
        ):
            self.single(request)
            pictures += 1
        return {"settled": self.contender.is_settled()}

    def load(
        self,
        arrivals: list[tuple[float, dict[str, Any]]],
        users: int = 0,
        cancel_every: int = 0,
        save: str | None = None,
    ) -> dict[str, Any]:
        """Runs a closed loop with `users`, or an open loop at the arrival times without. See bench.load_generator."""
        load = LoadGenerator(self.contender, arrivals, cancel_every)
        return self._measure(load, lambda: load.run_closed_loop(users) if users else load.run_open_loop(), save)

    def join(self, arrivals: list[tuple[float, dict[str, Any]]], steps: int) -> dict[str, Any]:
        """Measures how long a job waits that arrives when the others have made `steps` steps in all."""
        load = LoadGenerator(self.contender, arrivals, cancel_every=0)
        return self._measure(load, lambda: load.run_newcomer(steps))

    def _measure(self, load: LoadGenerator, run: Callable[[], Any], save: str | None = None) -> dict[str, Any]:
        """Returns the timelines and the passes; and in MiB peak and final memory of the process, and the GPU's peak."""
        before = self.contender.passes
        with sample_memory() as samples:
            timelines = run()
        if save is not None:
            np.save(save, np.asarray(load.first))
        return {
            "timelines": timelines,
            "passes": self.contender.passes - before,
            "peak resident": max(samples),
            "resident": resident_mb(),
            "GPU peak": self.contender.peak_mb(),
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.contenders", description=__doc__)
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("model")
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--compile", type=Path, help="compile networks, and cache them in this folder")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    replies, sys.stdout = sys.stdout, sys.stderr
    began, empty = time.perf_counter(), resident_mb()
    contender = CONTENDERS[arguments.name](
        get_source(arguments.model, arguments.scratch), arguments.device, arguments.compile
    )
    session = Session(contender, choose_device(arguments.device))
    started = {"loaded": time.perf_counter() - began, "resident empty": empty, "resident": resident_mb()}
    print(json.dumps(started), file=replies, flush=True)
    threading.Thread(target=session.serve, args=(replies,)).start()
    contender.run()


if __name__ == "__main__":
    main()
