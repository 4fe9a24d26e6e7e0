"""Jobs that run at the same time share passes of the network, and each gets what it would have got alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from imagegen.engine.batching import Batcher
from imagegen.engine.engine import Control, Engine, Finished, Happening, Work
from imagegen.engine.fibres import Loop, settle
from imagegen.engine.held import Held, pipeline_for
from imagegen.engine.step_cache import StepCache
from imagegen.engine.stopwatch import Stopwatch
from imagegen.engine.wearing import NOTHING
from imagegen.info import AdapterSource
from imagegen.schema import Cancelled, Progress, SamplerName
from tests.hub.loras import diffusers_lora
from tests.hub.tiny import TINY
from tests.integration.conftest import EMBEDDED, request
from tests.integration.tiny import Bench, image_of, run_together, unwatched

CPU = torch.device("cpu")


def difference(first: Image.Image, second: Image.Image) -> int:
    """The largest of all pixels, in steps of 1/255."""
    return int(np.abs(np.asarray(first, np.int16) - np.asarray(second, np.int16)).max())


class Passes:
    """What an engine did meanwhile."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        self.stopwatch, self.before, self.rows_before = stopwatch, stopwatch.passes, stopwatch.rows

    @property
    def count(self) -> int:
        return self.stopwatch.passes - self.before

    @property
    def rows(self) -> int:
        return self.stopwatch.rows - self.rows_before


def latents_of(held: Held, sampler: SamplerName, number: int) -> Tensor:
    """What a stock pipeline makes, whose networks are shared: each with its own steps, guidance, prompt and seed."""
    pipeline = pipeline_for(held, sampler, from_image=False)
    assert held.encoder is not None
    positive, negative = held.encoder.encode(f"a red circle number {number}", "blue" if number % 2 else "")
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


def test_every_sampler_gives_the_same_latents_in_any_company(engine: Engine) -> None:
    samplers = get_args(SamplerName)
    with engine.store.using(EMBEDDED) as held:
        alone, together = Stopwatch(CPU, int), Stopwatch(CPU, int)
        expected = [made(alone, held, [job])[0] for job in enumerate(samplers)]
        found = made(together, held, list(enumerate(samplers)))
    for sampler, first, second in zip(samplers, expected, found, strict=True):
        assert (first - second).norm() / first.norm() < 1e-5, sampler
    assert together.passes < 0.45 * alone.passes
    assert together.rows == alone.rows


def made(stopwatch: Stopwatch, held: Held, jobs: Sequence[tuple[int, SamplerName]]) -> list[Tensor]:
    loop = Loop(Batcher(stopwatch, exact=False, make_room=bool).answers)
    latents: list[Future[Tensor]] = []

    def start(number: int, sampler: SamplerName, result: Future[Tensor]) -> None:
        carrying = SimpleNamespace(outfit=NOTHING, cache=StepCache())
        loop.start(lambda: settle(result, lambda: latents_of(held, sampler, number)), carrying)

    for number, sampler in jobs:
        latents.append(Future())
        loop.post(lambda job=(number, sampler, latents[-1]): start(*job))  # type: ignore[misc]
    return [result.result() for result in latents]


@pytest.mark.parametrize("name", TINY)
def test_jobs_of_every_architecture_meet(bench: Bench, name: str) -> None:
    """Their prompts are of different lengths, and so are their runs."""
    works = [
        bench.work(name, seed=1, steps=4),
        bench.work(name, seed=2, steps=6, prompt="a blue square on a green table"),
        bench.work(name, seed=3, steps=5, batch_size=2),
    ]
    solo = Passes(bench.engine.stopwatch)
    expected = [image_of(bench.events(work)) for work in works]
    alone, rows = solo.count, solo.rows
    shared = Passes(bench.engine.stopwatch)
    found = [image_of(events) for events in bench.together(*works)]
    assert max(difference(*pair) for pair in zip(expected, found, strict=True)) <= 1
    assert shared.rows == rows
    # Qwen-Image hears prompts at their own lengths: calls of different lengths do not meet.
    assert shared.count < alone * (1.0 if "qwen" in name else 0.75)


def test_nobody_waits_for_anybody_when_alone(bench: Bench) -> None:
    passes = Passes(bench.engine.stopwatch)
    bench.picture("tiny-sd15", steps=7)
    assert passes.count == 7 + 1, "one for each step, and one that decodes"


def test_a_newcomer_joins_at_the_next_step(bench: Bench) -> None:
    """And leaves before the other, who does not notice."""
    long, short = bench.work("tiny-sd15", steps=40), bench.work("tiny-sd15", steps=3, seed=5)
    expected = [image_of(bench.events(work)) for work in (long, short)]
    order: list[tuple[str, Happening]] = []
    jobs: list[Future[None]] = []

    def say(event: Happening) -> None:
        order.append(("long", event))
        if isinstance(event, Progress) and event.step == 10:
            jobs.append(bench.engine.submit(short, unwatched(), lambda event: order.append(("short", event))))

    bench.engine.submit(long, unwatched(), say).result()
    jobs[0].result()
    steps = [(who, event.step) for who, event in order if isinstance(event, Progress)]
    assert ("short", 1) in steps[10:13]
    ends = {who: event.images[0] for who, event in order if isinstance(event, Finished)}
    assert list(ends) == ["short", "long"]
    assert max(difference(ends[who], image) for who, image in zip(("long", "short"), expected, strict=True)) <= 1


def test_who_is_cancelled_leaves_at_once_and_the_others_do_not_notice(bench: Bench) -> None:
    stay, leave = bench.work("tiny-sd15", steps=20), bench.work("tiny-sd15", steps=100, seed=5)
    expected = image_of(bench.events(stay))
    control = unwatched()
    left: list[Happening] = []

    def say(event: Happening) -> None:
        left.append(event)
        if len(left) == 5:
            control.cancelled.set()

    jobs = [bench.engine.submit(leave, control, say)]
    (events,) = bench.together(stay)
    jobs[0].result()
    assert left[-1] == Cancelled() and len(left) <= 7
    assert difference(image_of(events), expected) <= 1


@contextmanager
def before_each_pass(bench: Bench, model: str, hook: Any) -> Iterator[None]:
    """Calls `hook` with the rows that a pass is to have."""
    bench.engine.warm(bench.model(model)[1])
    unet = bench.engine.store.held[model].pipeline.unet
    handle = unet.register_forward_pre_hook(lambda _, args, kwargs: hook(len(kwargs["sample"])), with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def test_where_memory_ends_passes_get_smaller_and_nobody_fails(bench: Bench) -> None:
    sizes: list[int] = []

    def little_memory(rows: int) -> None:
        sizes.append(rows)
        if rows > 4:
            raise torch.OutOfMemoryError

    works = [bench.work("tiny-sd21", seed=seed, steps=6) for seed in range(5)]
    with before_each_pass(bench, "tiny-sd21", little_memory):
        told = bench.together(*works)
    assert all(isinstance(events[-1], Finished) for events in told)
    assert max(sizes) > 4 and sizes.count(4) > 4
    bench.engine.release("tiny-sd21")


def test_what_is_wrong_with_one_is_no_others_business(bench: Bench) -> None:
    """The second job's numbers are a poison for any pass that they are in."""
    works = [bench.work("tiny-sd15", seed=seed, steps=6, prompt=f"number {seed}") for seed in range(3)]
    told: list[list[Happening]] = [[], [], []]
    bench.engine.warm(works[0].model)
    held = bench.engine.store.held["tiny-sd15"]
    assert held.encoder is not None
    states = held.encoder.encode("number 1", "")[0].states[0]

    def poisoned(module: Any, args: Any, kwargs: Any) -> None:
        if any(torch.equal(text, states) for text in kwargs["encoder_hidden_states"]):
            raise ZeroDivisionError

    handle = held.pipeline.unet.register_forward_pre_hook(poisoned, with_kwargs=True)
    jobs = [bench.engine.submit(work, unwatched(), events.append) for work, events in zip(works, told, strict=True)]
    with pytest.raises(ZeroDivisionError):
        jobs[1].result()
    for job in (jobs[0], jobs[2]):
        job.result()
    handle.remove()
    assert all(isinstance(events[-1], Finished) for events in (told[0], told[2]))


def loras_for(bench: Bench, model: str) -> list[AdapterSource]:
    found = []
    for seed in (1, 2):
        file = bench.folder / "loras" / f"{model}-mixed-{seed}.safetensors"
        if not file.exists():
            diffusers_lora(bench.model(model)[1].path, file, seed)
        found.append(bench.loras.source(file.stem, 0.7))
    return found


@pytest.mark.parametrize("name", ["tiny-sd15", "tiny-sdxl", "tiny-flux-dev", "tiny-z-image", "tiny-sana"])
def test_jobs_with_different_loras_meet_and_each_wears_its_own(bench: Bench, name: str) -> None:
    first, second = loras_for(bench, name)
    stacks: list[list[AdapterSource]] = [[], [first], [second], [first, second]]
    works = [bench.work(name, stack, seed=seed, steps=5) for seed, stack in enumerate(stacks)]
    solo = Passes(bench.engine.stopwatch)
    expected = [image_of(bench.events(work)) for work in works]
    alone = solo.count
    shared = Passes(bench.engine.stopwatch)
    found = [image_of(events) for events in bench.together(*works)]
    assert max(difference(*pair) for pair in zip(expected, found, strict=True)) <= 1
    assert difference(found[1], image_of(bench.events(bench.work(name, seed=1, steps=5)))) > 8
    assert shared.count < 0.75 * alone
    again = [image_of(bench.events(work)) for work in works]
    assert [image.tobytes() for image in again] == [image.tobytes() for image in expected]


def test_exact_jobs_never_mix() -> None:
    engine = Engine("cpu", exact=True)
    works = [Work(request(steps=4, seed=seed), EMBEDDED) for seed in range(3)]
    expected = [image_of(run_together(engine, work)[0]).tobytes() for work in works]
    passes = Passes(engine.stopwatch)
    assert [image_of(events).tobytes() for events in run_together(engine, *works)] == expected
    assert passes.count == 3 * (4 + 1)


def test_a_model_that_does_not_fit_beside_those_in_use_waits_and_gets_its_turn(bench: Bench) -> None:
    """With room for one: those that come after it wait as well, or it might wait for ever."""
    first, other = bench.model("tiny-sd15")[1], bench.model("tiny-sd21")[1]
    for model in (first, other):
        bench.engine.warm(model)
    size = max(bench.engine.store.held[model.id].size for model in (first, other))
    engine = Engine("cpu", memory_gb=size * 1.2 / 1e9)
    order: list[str] = []
    works = [bench.work("tiny-sd15", steps=12), bench.work("tiny-sd21", steps=2), bench.work("tiny-sd15", steps=2)]
    names = ["long", "other", "late"]
    jobs = []
    for name, work in zip(names, works, strict=True):
        told: list[Happening] = []
        jobs.append(engine.submit(work, unwatched(), told.append))
        jobs[-1].add_done_callback(lambda _, name=name: order.append(name))  # type: ignore[misc]
    for job in jobs:
        job.result()
    assert order == names


def test_one_that_waits_for_room_can_be_cancelled(bench: Bench) -> None:
    for name in ("tiny-sd15", "tiny-sd21"):
        bench.engine.warm(bench.model(name)[1])
    engine = Engine("cpu", memory_gb=bench.engine.store.held["tiny-sd21"].size * 1.2 / 1e9)
    running, waiting = unwatched(), unwatched()
    began = threading.Event()
    long = engine.submit(bench.work("tiny-sd15", steps=150), running, lambda _: began.set())
    began.wait()
    told: list[Happening] = []
    other = engine.submit(bench.work("tiny-sd21", steps=2), waiting, told.append)
    engine.cancel(waiting)
    other.result()
    assert told == [Cancelled()]
    assert not long.done()
    engine.cancel(running)
    long.result()


def test_a_model_is_read_from_disk_while_others_go_on(bench: Bench) -> None:
    """Two who want it wait for the same."""
    engine = Engine("cpu")
    engine.warm(bench.model("tiny-sd15")[1])
    steps: list[int] = []
    told: list[list[Happening]] = [[], []]
    control = Control(threading.Event(), threading.Event())

    def say(event: Happening) -> None:
        if isinstance(event, Progress):
            steps.append(event.step)

    long = engine.submit(bench.work("tiny-sd15", steps=150), control, say)
    jobs = [engine.submit(bench.work("tiny-sd21", seed=n), unwatched(), told[n].append) for n in (0, 1)]
    for job in jobs:
        job.result()
    assert steps, "the others stood still"
    assert all(isinstance(events[-1], Finished) for events in told)
    assert sorted(engine.store.held) == ["tiny-sd15", "tiny-sd21"]
    engine.cancel(control)
    long.result()
