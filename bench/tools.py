"""`python -m bench.tools`: the tools for pictures on the embedded model: ours, and the same with stock diffusers.

Inpainting, hires fix, and ControlNet alone and with eight users at once are compared with pipelines of diffusers,
called once per picture. Upscaling is compared with the same network on the whole picture at once. The pictures are
compared before anything is timed, and the contenders take turns.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)
from PIL import Image, ImageDraw

from bench.contender_process import describe_machine
from bench.create_models import find_embedded_model
from bench.processes import resident_mb, sample_memory
from bench.step_cache import psnr
from bench.timing import save_result, time_interleaved
from imagegen.engine.engine import Engine, EngineEvent, EngineResult, JobControl, JobInputs
from imagegen.engine.models.out_of_memory import release_unused_memory
from imagegen.engine.samplers import create_scheduler
from imagegen.engine.upscaling.upscaler_cache import read_network
from imagegen.library.controlnets import ControlNetIndex
from imagegen.library.snapshots import Snapshots
from imagegen.library.upscalers import KIND, UpscalerIndex
from imagegen.schema.field_types import SamplerName
from imagegen.schema.models import UpscalerSource
from imagegen.schema.request import GenerationRequest
from imagegen.settings import ASSETS_DIR

Picture = Callable[[], Image.Image]

SIDE, USERS, MIN_PSNR = 256, 8, 40.0
PROMPT, GUIDANCE = "a red circle on a blue background", 3.0
SAMPLER: SamplerName = "Euler"
BOX = (64, 64, 191, 191)
ANY_IMAGE = "0" * 64
UPSCALED_FROM, SCALE = 512, 4


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.tools", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    ours, plain = Ours(arguments.steps), Plain(arguments.steps)
    start = plain.text_to_image(9)
    rows = {
        "inpainting": compare(lambda: ours.inpaint(start), lambda: plain.inpaint(start), arguments.rounds),
        "hires fix, 256 to 512 px": compare(ours.hires, plain.hires, arguments.rounds),
        "ControlNet": compare(lambda: ours.control(1)[0], lambda: plain.control(1)[0], arguments.rounds),
        f"ControlNet, {USERS} users at once": compare_users(ours, plain, max(1, arguments.rounds // 2)),
    }
    small = start.resize((UPSCALED_FROM, UPSCALED_FROM))
    rows[f"upscaling, {UPSCALED_FROM} to {UPSCALED_FROM * SCALE} px"] = compare_upscaling(ours, small, arguments.rounds)
    save_result("tools", describe_machine("cpu"), {"side": SIDE, "steps": arguments.steps, "tools": rows})


class Ours:
    """The engine, as the studio runs it."""

    def __init__(self, steps: int) -> None:
        source = find_embedded_model().source
        assert source is not None
        self.source, self.steps, self.engine = source, steps, Engine("cpu")
        folder = ASSETS_DIR / "controlnets"
        self.controlnet = ControlNetIndex("controlnet", (folder,), Snapshots()).get_source("studio-edges")
        self.upscaler = UpscalerIndex(KIND, (ASSETS_DIR / "upscalers",), Snapshots()).get_source("studio-x4")
        self.lanczos = UpscalerSource(id="Lanczos", name="Lanczos")

    def inpaint(self, start: Image.Image) -> Image.Image:
        images = {"init_image": start, "mask_image": draw_mask()}
        request = self.make_request(1, **dict.fromkeys(images, ANY_IMAGE), strength=0.75, mask_blur=0)
        return self.run(JobInputs(request, self.source, input_images=images))[0]

    def hires(self) -> Image.Image:
        request = self.make_request(
            1, hires_scale=2, hires_strength=0.5, hires_upscaler="Lanczos", hires_steps=self.steps // 2
        )
        return self.run(JobInputs(request, self.source, upscalers={"hires_upscaler": self.lanczos}))[0]

    def control(self, users: int) -> list[Image.Image]:
        """Returns the pictures of several jobs that are submitted at once."""
        images = {"controls[0].image": draw_lines()}
        controls = [{"controlnet": self.controlnet.id, "image": ANY_IMAGE}]
        jobs = [
            JobInputs(self.make_request(seed, controls=controls), self.source, (self.controlnet,), images)
            for seed in range(1, users + 1)
        ]
        return self.run(*jobs)

    def upscale(self, image: Image.Image) -> Image.Image:
        request = GenerationRequest(image=ANY_IMAGE, scale=SCALE, upscaler=self.upscaler.id)
        inputs = JobInputs(request, None, input_images={"image": image}, upscalers={"upscaler": self.upscaler})
        return self.run(inputs)[0]

    def make_request(self, seed: int, **fields: Any) -> GenerationRequest:
        usual = {"width": SIDE, "height": SIDE, "steps": self.steps, "guidance_scale": GUIDANCE, "sampler": SAMPLER}
        return GenerationRequest.model_validate({"prompt": PROMPT, "seed": seed, **usual, **fields})

    def run(self, *jobs: JobInputs) -> list[Image.Image]:
        last_events: dict[int, EngineEvent] = {}

        def keep(number: int) -> Callable[[EngineEvent], None]:
            return lambda event: last_events.__setitem__(number, event)

        ended = [
            self.engine.submit(inputs, JobControl(threading.Event(), threading.Event()), keep(number))
            for number, inputs in enumerate(jobs)
        ]
        for each in ended:
            each.result()
        results = [last_events[number] for number in range(len(jobs))]
        return [event.images[0] for event in results if isinstance(event, EngineResult)]


class Plain:
    """Stock pipelines, called once per picture."""

    def __init__(self, steps: int) -> None:
        source = find_embedded_model().source
        assert source is not None
        self.steps = steps
        self.pipeline: Any = StableDiffusionPipeline.from_pretrained(source.path, dtype=torch.float32)
        self.config = self.pipeline.scheduler.config
        controlnet = ControlNetModel.from_pretrained(ASSETS_DIR / "controlnets" / "studio-edges", dtype=torch.float32)
        parts = self.pipeline.components
        self.img2img: Any = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
        self.inpainting: Any = StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False)
        self.controlled: Any = StableDiffusionControlNetPipeline(
            **parts, controlnet=controlnet, requires_safety_checker=False
        )

    def text_to_image(self, seed: int) -> Image.Image:
        return self.run(self.pipeline, seed, width=SIDE, height=SIDE)

    def inpaint(self, start: Image.Image) -> Image.Image:
        mask = draw_mask()
        sides = {"width": SIDE, "height": SIDE}
        picture = self.run(self.inpainting, 1, image=start, mask_image=mask, strength=0.75, **sides)
        return Image.composite(picture, start, mask)

    def hires(self) -> Image.Image:
        small = self.text_to_image(1)
        large = small.resize((2 * SIDE, 2 * SIDE), Image.Resampling.LANCZOS)
        return self.run(self.img2img, 1, image=large, strength=0.5)

    def control(self, users: int) -> list[Image.Image]:
        return [self.run(self.controlled, seed, image=draw_lines()) for seed in range(1, users + 1)]

    def run(self, pipeline: Any, seed: int, **options: Any) -> Image.Image:
        pipeline.set_progress_bar_config(disable=True)
        pipeline.scheduler = create_scheduler(SAMPLER, self.config)
        picture: Image.Image = pipeline(
            PROMPT,
            num_inference_steps=self.steps,
            guidance_scale=GUIDANCE,
            generator=torch.Generator("cpu").manual_seed(seed),
            **options,
        ).images[0]
        return picture


def draw_mask() -> Image.Image:
    mask = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(mask).rectangle(BOX, fill=255)
    return mask


def draw_lines() -> Image.Image:
    lines = Image.new("RGB", (SIDE, SIDE))
    ImageDraw.Draw(lines).ellipse(BOX, outline="white", width=3)
    return lines


def compare(ours: Picture, plain: Picture, rounds: int) -> Mapping[str, Any]:
    """Returns the agreement of the pictures and the seconds of the median. Raises SystemExit if they do not agree."""
    agreement = measure_agreement(ours(), plain())
    return describe_times(time_interleaved({"ours": ours, "plain": plain}, rounds), agreement)


def compare_users(ours: Ours, plain: Plain, rounds: int) -> Mapping[str, Any]:
    pairs = zip(ours.control(USERS), plain.control(USERS), strict=True)
    agreement = min(measure_agreement(*pair) for pair in pairs)
    runs = {"ours": lambda: ours.control(USERS), "plain": lambda: plain.control(USERS)}
    return describe_times(time_interleaved(runs, rounds), agreement)


def compare_upscaling(ours: Ours, image: Image.Image, rounds: int) -> Mapping[str, Any]:
    """Also returns the memory in MiB that each takes at its peak, beyond what the process had before."""
    assert ours.upscaler.path is not None
    _, network = read_network(ours.upscaler.path, torch.device("cpu"))

    def enlarge_whole() -> Image.Image:
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            output = network(pixels)[0].clamp(0, 1)
        return Image.fromarray((output * 255).round().permute(1, 2, 0).byte().numpy())

    runs: dict[str, Picture] = {"ours": lambda: ours.upscale(image), "plain": enlarge_whole}
    agreement = measure_agreement(*(run() for run in runs.values()))
    memory = {name: round(measure_peak(run)) for name, run in runs.items()}
    return {**describe_times(time_interleaved(runs, rounds), agreement), "memory": memory}


def measure_peak(run: Picture) -> float:
    release_unused_memory()
    before = resident_mb()
    with sample_memory() as samples:
        run()
    return max(samples) - before


def measure_agreement(ours: Image.Image, plain: Image.Image) -> float:
    decibels = psnr(np.asarray(ours, np.float64), np.asarray(plain, np.float64))
    if decibels < MIN_PSNR:
        raise SystemExit(f"The pictures do not agree: {decibels:.1f} dB")
    return round(decibels, 1)


def describe_times(seconds: Mapping[str, float], agreement: float) -> dict[str, Any]:
    return {
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "times as fast as plain": round(seconds["plain"] / seconds["ours"], 3),
        "agreement with plain in dB": agreement,
    }


if __name__ == "__main__":
    main()
