"""Jobs that run at the same time share forward passes, and each gets the result that it would get alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from imagegen.engine.batching.batcher import Batcher
from imagegen.engine.batching.pass_timer import PassTimer
from imagegen.engine.engine import Engine, EngineEvent, EngineResult, JobControl, JobInputs
from imagegen.engine.job import EngineJob
from imagegen.engine.models.loaded import LoadedModel
from imagegen.engine.pipelines import create_job_pipeline
from imagegen.engine.run_loop import RunLoop, complete_future
from imagegen.library.family_facts import ALL_SAMPLERS
from imagegen.schema.events import Cancelled, Progress
from imagegen.schema.field_types import SamplerName
from imagegen.schema.models import AdapterSource
from tests.hub.loras import diffusers_lora
from tests.hub.tiny import TINY
from tests.integration.conftest import EMBEDDED, request
from tests.integration.engine_harness import EngineHarness, get_final_image, new_control, run_together

CPU = torch.device("cpu")


def difference(first: Image.Image, second: Image.Image) -> int:
    """Returns the largest difference of all pixels, in steps of 1/255."""
    return int(np.abs(np.asarray(first, np.int16) - np.asarray(second, np.int16)).max())


class PassCounter:
    """The passes of an engine during a test."""

    def __init__(self, timer: PassTimer) -> None:
        self.timer, self.before, self.rows_before = timer, timer.passes, timer.rows

    @property
    def count(self) -> int:
        return self.timer.passes - self.before

    @property
    def rows(self) -> int:
        return self.timer.rows - self.rows_before


def generate_latents(loaded: LoadedModel, sampler: SamplerName, number: int) -> Tensor:
    """Runs stock pipelines with shared networks: each with its own steps, guidance, prompt and seed."""
    pipeline = create_job_pipeline(loaded, sampler, "text_to_image")
    assert loaded.prompt_encoder is not None
    positive, negative = loaded.prompt_encoder.encode(f"a red circle number {number}", "blue" if number % 2 else "")
    latents: Tensor = pipeline(
        prompt_embeds=positive.states,
        negative_prompt_embeds=negative.states,
        num_inference_steps=5 + number,
        guidance_scale=1.0 if number % 3 == 2 else 4.0,
        generator=torch.Generator().manual_seed(number),
        width=64,
        height=64,
        output_type="latent",
    ).images
    return latents


def test_every_sampler_gives_the_same_latents_in_any_batch(engine: Engine) -> None:
    samplers = ALL_SAMPLERS
    with engine.store.use(EMBEDDED) as loaded:
        alone, together = PassTimer(CPU, int), PassTimer(CPU, int)
        expected = [generate_latents_together(alone, loaded, [job])[0] for job in enumerate(samplers)]
        found = generate_latents_together(together, loaded, list(enumerate(samplers)))
    for sampler, first, second in zip(samplers, expected, found, strict=True):
        assert (first - second).norm() / first.norm() < 1e-5, sampler
    assert together.passes < 0.45 * alone.passes
    assert together.rows == alone.rows


def generate_latents_together(
    timer: PassTimer, loaded: LoadedModel, jobs: Sequence[tuple[int, SamplerName]]
) -> list[Tensor]:
    loop = RunLoop(Batcher(timer, exact=False, free_memory=bool).process)
    latents: list[Future[Tensor]] = [Future() for _ in jobs]

    def start(number: int, sampler: SamplerName, result: Future[Tensor]) -> None:
        def run() -> None:
            complete_future(result, lambda: generate_latents(loaded, sampler, number))

        loop.start(run, EngineJob(EMBEDDED, run, new_control()))

    def start_all() -> None:
        for job, result in zip(jobs, latents, strict=True):
            start(*job, result)

    loop.post(start_all)
    return [result.result() for result in latents]


@pytest.mark.parametrize("name", TINY)
def test_jobs_of_every_architecture_meet(harness: EngineHarness, name: str) -> None:
    """The jobs have prompts of different lengths and different numbers of steps."""
    job_inputs = [
        harness.make_inputs(name, seed=1, steps=4),
        harness.make_inputs(name, seed=2, steps=6, prompt="a blue square on a green table"),
        harness.make_inputs(name, seed=3, steps=5, batch_size=2),
    ]
    solo = PassCounter(harness.engine.pass_timer)
    expected = [get_final_image(harness.run(inputs)) for inputs in job_inputs]
    alone, rows = solo.count, solo.rows
    shared = PassCounter(harness.engine.pass_timer)
    found = [get_final_image(events) for events in harness.run_concurrently(*job_inputs)]
    assert max(difference(*pair) for pair in zip(expected, found, strict=True)) <= 1
    assert shared.rows == rows
    # Qwen-Image encodes prompts at their own lengths: calls of different lengths are not batched.
    assert shared.count < alone * (1.0 if "qwen" in name else 0.75)


@pytest.mark.parametrize("name", ["tiny-qwen-image", "tiny-flux-dev"])
def test_pictures_of_other_shapes_with_as_many_patches_stay_apart(harness: EngineHarness, name: str) -> None:
    job_inputs = [harness.make_inputs(name, width=width, height=192 - width, steps=3) for width in (64, 128)]
    expected = [get_final_image(harness.run(inputs)) for inputs in job_inputs]
    found = [get_final_image(events) for events in harness.run_concurrently(*job_inputs)]
    assert max(difference(*pair) for pair in zip(expected, found, strict=True)) <= 1


def test_a_single_job_waits_for_no_other(harness: EngineHarness) -> None:
    passes = PassCounter(harness.engine.pass_timer)
    harness.generate_image("tiny-sd15", steps=7)
    assert passes.count == 7 + 1, "one for each step, and one that decodes"


def test_a_newcomer_joins_at_the_next_step(harness: EngineHarness) -> None:
    """The second job ends before the first, which is not affected."""
    long, short = harness.make_inputs("tiny-sd15", steps=40), harness.make_inputs("tiny-sd15", steps=3, seed=5)
    expected = [get_final_image(harness.run(inputs)) for inputs in (long, short)]
    order: list[tuple[str, EngineEvent]] = []
    jobs: list[Future[None]] = []

    def on_event(event: EngineEvent) -> None:
        order.append(("long", event))
        if isinstance(event, Progress) and event.step == 10:
            jobs.append(harness.engine.submit(short, new_control(), lambda event: order.append(("short", event))))

    harness.engine.submit(long, new_control(), on_event).result()
    jobs[0].result()
    steps = [(who, event.step) for who, event in order if isinstance(event, Progress)]
    assert ("short", 1) in steps[10:13]
    ends = {who: event.images[0] for who, event in order if isinstance(event, EngineResult)}
    assert list(ends) == ["short", "long"]
    assert max(difference(ends[who], image) for who, image in zip(("long", "short"), expected, strict=True)) <= 1


def test_who_is_cancelled_leaves_at_once_and_the_others_do_not_notice(harness: EngineHarness) -> None:
    stay, leave = harness.make_inputs("tiny-sd15", steps=20), harness.make_inputs("tiny-sd15", steps=100, seed=5)
    expected = get_final_image(harness.run(stay))
    control = new_control()
    left: list[EngineEvent] = []

    def on_event(event: EngineEvent) -> None:
        left.append(event)
        if len(left) == 5:
            control.cancelled.set()

    jobs = [harness.engine.submit(leave, control, on_event)]
    (events,) = harness.run_concurrently(stay)
    jobs[0].result()
    assert left[-1] == Cancelled() and len(left) <= 7
    assert difference(get_final_image(events), expected) <= 1


@contextmanager
def before_each_pass(bench: EngineHarness, model: str, hook: Any) -> Iterator[None]:
    """Calls `hook` with the number of rows before each pass."""
    bench.engine.warm(bench.model(model)[1])
    denoiser = bench.engine.store.models[model].denoiser
    handle = denoiser.register_forward_pre_hook(lambda _, args, kwargs: hook(len(kwargs["sample"])), with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def test_passes_shrink_when_memory_runs_out_and_no_job_fails(harness: EngineHarness) -> None:
    sizes: list[int] = []

    def little_memory(rows: int) -> None:
        sizes.append(rows)
        if rows > 4:
            raise torch.OutOfMemoryError

    # Two rows each: as many as the first pass takes together, before any time is measured.
    job_inputs = [harness.make_inputs("tiny-sd21", seed=seed, steps=6) for seed in range(4)]
    with before_each_pass(harness, "tiny-sd21", little_memory):
        events_by_job = harness.run_concurrently(*job_inputs)
    assert all(isinstance(events[-1], EngineResult) for events in events_by_job)
    assert max(sizes) > 4 and sizes.count(4) > 4
    harness.engine.release("tiny-sd21")


@pytest.mark.parametrize("task", ["txt2img", "img2img"])
def test_a_picture_is_decoded_in_tiles_when_memory_runs_out(harness: EngineHarness, task: str) -> None:
    """The autoencoder can work on 64 x 64 pixels at once. The picture is that of diffusers' own tiles."""
    start = Image.linear_gradient("L").resize((128, 128)).convert("RGB")
    fields: dict[str, Any] = {"width": 128, "height": 128, "steps": 3, "seed": 4, "batch_size": 2}
    inputs = harness.make_inputs("tiny-sd15", start=start if task == "img2img" else None, **fields)
    assert inputs.model is not None
    harness.engine.warm(inputs.model)
    vae: Any = harness.engine.store.models["tiny-sd15"].pipeline.vae
    vae.enable_tiling()
    *_, expected = harness.run(inputs)
    vae.disable_tiling()

    def little_memory(module: Any, args: tuple[Tensor]) -> None:
        sizes.append(tuple(args[0].shape))
        if args[0].shape[0] > 1 or args[0].shape[-1] > (64 if module is vae.encoder else 64 // 8):
            raise torch.OutOfMemoryError

    sizes: list[tuple[int, ...]] = []
    handles = [part.register_forward_pre_hook(little_memory) for part in (vae.encoder, vae.decoder)]
    try:
        *_, found = harness.run(inputs)
    finally:
        for handle in handles:
            handle.remove()
    assert isinstance(expected, EngineResult) and isinstance(found, EngineResult)
    assert max(map(difference, expected.images, found.images)) <= 1
    assert not vae.use_tiling and len(sizes) > 8


def test_what_is_wrong_with_one_is_no_others_business(harness: EngineHarness) -> None:
    """The second job's latents become NaN, which must not spread to others in the batch."""
    job_inputs = [harness.make_inputs("tiny-sd15", seed=seed, steps=6, prompt=f"number {seed}") for seed in range(3)]
    events_by_job: list[list[EngineEvent]] = [[], [], []]
    assert job_inputs[0].model is not None
    harness.engine.warm(job_inputs[0].model)
    loaded = harness.engine.store.models["tiny-sd15"]
    assert loaded.prompt_encoder is not None
    states = loaded.prompt_encoder.encode("number 1", "")[0].states[0]

    def poisoned(module: Any, args: Any, kwargs: Any) -> None:
        if any(torch.equal(text, states) for text in kwargs["encoder_hidden_states"]):
            raise ZeroDivisionError

    handle = loaded.denoiser.register_forward_pre_hook(poisoned, with_kwargs=True)
    jobs = [
        harness.engine.submit(inputs, new_control(), events.append)
        for inputs, events in zip(job_inputs, events_by_job, strict=True)
    ]
    with pytest.raises(ZeroDivisionError):
        jobs[1].result()
    for job in (jobs[0], jobs[2]):
        job.result()
    handle.remove()
    assert all(isinstance(events[-1], EngineResult) for events in (events_by_job[0], events_by_job[2]))


def loras_for(bench: EngineHarness, model: str) -> list[AdapterSource]:
    found = []
    for seed in (1, 2):
        file = bench.folder / "loras" / f"{model}-mixed-{seed}.safetensors"
        if not file.exists():
            diffusers_lora(bench.model(model)[1].path, file, seed)
        found.append(bench.loras.get_source(file.stem, 0.7))
    return found


@pytest.mark.parametrize("name", ["tiny-sd15", "tiny-sdxl", "tiny-flux-dev", "tiny-z-image", "tiny-sana"])
def test_jobs_with_different_loras_share_a_pass_and_each_uses_its_own(harness: EngineHarness, name: str) -> None:
    first, second = loras_for(harness, name)
    adapter_lists: list[list[AdapterSource]] = [[], [first], [second], [first, second]]
    job_inputs = [
        harness.make_inputs(name, adapters, seed=seed, steps=5) for seed, adapters in enumerate(adapter_lists)
    ]
    solo = PassCounter(harness.engine.pass_timer)
    expected = [get_final_image(harness.run(inputs)) for inputs in job_inputs]
    alone = solo.count
    shared = PassCounter(harness.engine.pass_timer)
    found = [get_final_image(events) for events in harness.run_concurrently(*job_inputs)]
    assert max(difference(*pair) for pair in zip(expected, found, strict=True)) <= 1
    assert difference(found[1], get_final_image(harness.run(harness.make_inputs(name, seed=1, steps=5)))) > 8
    assert shared.count < 0.75 * alone
    again = [get_final_image(harness.run(work)) for work in job_inputs]
    assert [image.tobytes() for image in again] == [image.tobytes() for image in expected]


def test_exact_jobs_never_mix() -> None:
    engine = Engine("cpu", exact=True)
    job_inputs = [JobInputs(request(steps=4, seed=seed), EMBEDDED) for seed in range(3)]
    expected = [get_final_image(run_together(engine, inputs)[0]).tobytes() for inputs in job_inputs]
    passes = PassCounter(engine.pass_timer)
    assert [get_final_image(events).tobytes() for events in run_together(engine, *job_inputs)] == expected
    assert passes.count == 3 * (4 + 1)


def test_a_model_that_does_not_fit_beside_those_in_use_waits_and_gets_its_turn(harness: EngineHarness) -> None:
    """Later jobs wait as well, so that the first cannot wait forever."""
    first, other = harness.model("tiny-sd15")[1], harness.model("tiny-sd21")[1]
    for model in (first, other):
        harness.engine.warm(model)
    size = max(harness.engine.store.models[model.id].size_bytes for model in (first, other))
    engine = Engine("cpu", memory_gb=size * 1.2 / 1e9)
    order: list[str] = []
    job_inputs = [
        harness.make_inputs("tiny-sd15", steps=12),
        harness.make_inputs("tiny-sd21", steps=2),
        harness.make_inputs("tiny-sd15", steps=2),
    ]
    names = ["long", "other", "late"]
    jobs = []
    for name, inputs in zip(names, job_inputs, strict=True):
        events_by_job: list[EngineEvent] = []
        jobs.append(engine.submit(inputs, new_control(), events_by_job.append))
        jobs[-1].add_done_callback(lambda _, name=name: order.append(name))  # type: ignore[misc]
    for job in jobs:
        job.result()
    assert order == names


def test_one_that_waits_for_room_can_be_cancelled(harness: EngineHarness) -> None:
    for name in ("tiny-sd15", "tiny-sd21"):
        harness.engine.warm(harness.model(name)[1])
    engine = Engine("cpu", memory_gb=harness.engine.store.models["tiny-sd21"].size_bytes * 1.2 / 1e9)
    running, waiting = new_control(), new_control()
    began = threading.Event()
    long = engine.submit(harness.make_inputs("tiny-sd15", steps=150), running, lambda _: began.set())
    began.wait()
    events: list[EngineEvent] = []
    other = engine.submit(harness.make_inputs("tiny-sd21", steps=2), waiting, events.append)
    engine.cancel(waiting)
    other.result()
    assert events == [Cancelled()]
    assert not long.done()
    engine.cancel(running)
    long.result()


def test_a_model_is_read_from_disk_while_others_go_on(harness: EngineHarness) -> None:
    """Two jobs for the same model wait for one load."""
    engine = Engine("cpu")
    engine.warm(harness.model("tiny-sd15")[1])
    steps: list[int] = []
    received: list[list[EngineEvent]] = [[], []]
    control = JobControl(threading.Event(), threading.Event())

    def on_event(event: EngineEvent) -> None:
        if isinstance(event, Progress):
            steps.append(event.step)

    long = engine.submit(harness.make_inputs("tiny-sd15", steps=150), control, on_event)
    jobs = [engine.submit(harness.make_inputs("tiny-sd21", seed=n), new_control(), received[n].append) for n in (0, 1)]
    for job in jobs:
        job.result()
    assert steps, "the other jobs did not progress"
    assert all(isinstance(events[-1], EngineResult) for events in received)
    assert sorted(engine.store.models) == ["tiny-sd15", "tiny-sd21"]
    engine.cancel(control)
    long.result()
