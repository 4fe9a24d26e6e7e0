"""The engine as its callers see it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from imagegen.engine.engine import Engine, JobInputs
from imagegen.engine.models.out_of_memory import is_out_of_memory
from imagegen.engine.receipts import build_receipts
from imagegen.errors import ModelLoadFailed, NonFiniteLatents, OutOfMemory, WorkerUnavailable
from imagegen.schema.events import Cancelled, Loading, Progress
from imagegen.schema.field_types import MAX_SEED
from imagegen.schema.models import ModelSource
from imagegen.schema.receipt import RequestedAs
from imagegen.schema.request import GenerationRequest
from imagegen.schema.validation import fill_in_defaults
from imagegen.version import VERSION
from tests.integration.conftest import ANY_IMAGE, EMBEDDED, INFO, Generate, new_control, request
from tests.integration.engine_harness import name_start_image, run_until_cancelled


def difference(first: Image.Image, second: Image.Image) -> float:
    """Returns the mean difference of all pixels, in steps of 1/255."""
    assert first.size == second.size
    return float(np.abs(np.asarray(first, np.float32) - np.asarray(second, np.float32)).mean())


def make_engine_inputs(
    fields: GenerationRequest, start: Image.Image | None = None, model: ModelSource = EMBEDDED
) -> JobInputs:
    return JobInputs(fields, model, input_images=name_start_image(start))


def source_in(folder: Path) -> ModelSource:
    """Returns the embedded model's source with another folder."""
    return EMBEDDED.model_copy(update={"path": folder})


def drawing(width: int, height: int) -> Image.Image:
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([across, down, 255 - across], axis=-1).astype(np.uint8))


def test_the_same_seed_gives_the_same_picture(generate: Generate) -> None:
    first, again, other = (generate(seed=seed).images[0] for seed in (7, 7, 8))
    assert first.tobytes() == again.tobytes()
    assert difference(first, other) > 0


def test_a_picture_has_the_requested_size(generate: Generate) -> None:
    assert generate(width=72, height=136).images[0].size == (72, 136)
    assert generate(drawing(300, 100), strength=0.5, width=72).images[0].size == (72, 64)


def test_each_picture_of_a_batch_has_its_receipt(generate: Generate) -> None:
    finished = generate(batch_size=3, seed=5, negative_prompt="text", clip_skip=1)
    assert len(finished.images) == 3
    assert [receipt.seed for receipt in finished.receipts] == [5, 6, 7]
    receipt = finished.receipts[0]
    assert (receipt.prompt, receipt.negative_prompt, receipt.clip_skip) == (request().prompt, "text", 1)
    assert (receipt.model_id, receipt.device, receipt.dtype) == ("embedded", "cpu", "float32")
    assert set(receipt.versions) == {"studio", "torch", "diffusers", "transformers"}
    assert receipt.versions["studio"] == VERSION
    assert finished.vram_peak_mb is None


def test_a_receipt_says_what_was_requested_instead() -> None:
    requested = RequestedAs(model="dall-e-3", size="1024x1024")
    inputs = JobInputs(fill_in_defaults(request(), INFO, 7), EMBEDDED, requested=requested)
    (receipt,) = build_receipts(inputs, "cpu", "float32", (64, 64))
    assert receipt.requested == requested


def test_a_receipt_gives_the_picture_again(generate: Generate) -> None:
    finished = generate(batch_size=2, sampler="Euler a", prompt="a (blue:1.2) square")
    fields = finished.receipts[1].model_dump(include=set(GenerationRequest.model_fields), exclude_none=True)
    assert difference(generate(**fields).images[0], finished.images[1]) < 0.5


def test_after_the_last_seed_comes_the_first(generate: Generate) -> None:
    assert [receipt.seed for receipt in generate(seed=MAX_SEED, batch_size=2).receipts] == [MAX_SEED, 0]


def test_prompts_and_guidance_decide_the_picture(generate: Generate) -> None:
    plain = generate().images[0]
    assert difference(plain, generate(prompt="a forest at night").images[0]) > 0
    assert difference(plain, generate(negative_prompt="blue").images[0]) > 0
    assert difference(plain, generate(guidance_scale=8.0).images[0]) > 0
    assert difference(plain, generate(clip_skip=1).images[0]) > 0


def test_at_guidance_1_the_negative_prompt_has_no_effect(generate: Generate) -> None:
    first, second = (generate(guidance_scale=1.0, negative_prompt=text).images[0] for text in ("", "blue"))
    assert first.tobytes() == second.tobytes()


def test_weights_change_the_picture_in_both_modes(generate: Generate) -> None:
    for start in (None, drawing(64, 64)):
        strength = 0.7 if start else None
        plain, heavy = (
            generate(start, prompt=text, strength=strength).images[0] for text in ("a red circle", "a (red:3) circle")
        )
        assert difference(plain, heavy) > 0


def test_words_beyond_the_text_encoders_77_tokens_have_an_effect(generate: Generate) -> None:
    long = "a lake, " * 60
    for fields in ({}, {"negative_prompt": "a very long " * 80}):
        assert difference(*(generate(prompt=long + end, **fields).images[0] for end in ("sunrise", "night"))) > 0


def test_image_to_image_with_little_strength_stays_near_the_picture(generate: Generate) -> None:
    start = drawing(64, 64)
    weak, strong = (generate(start, strength=strength, steps=8).images[0] for strength in (0.05, 1.0))
    assert difference(weak, start) < difference(strong, start)


def test_an_initial_picture_of_another_shape_is_cropped_about_its_middle(generate: Generate) -> None:
    start = drawing(64, 64)
    wide = Image.new("RGB", (256, 64), "white")
    wide.paste(start, (96, 0))
    cropped, whole = (generate(image, strength=0.3, steps=4).images[0] for image in (wide, start))
    assert cropped.tobytes() == whole.tobytes()


def test_progress_counts_the_steps_that_run(engine: Engine) -> None:
    events = list(engine.generate(make_engine_inputs(request(steps=4)), new_control()))[:-1]
    assert [(event.step, event.steps) for event in events if isinstance(event, Progress)] == [
        (n, 4) for n in range(1, 5)
    ]
    last = events[-1]
    assert isinstance(last, Progress)
    assert last.seconds_left == 0


@pytest.mark.parametrize(("strength", "steps"), [(1.0, 8), (0.5, 4), (0.01, 1), (1e-6, 1), (5e-324, 1)])
def test_image_to_image_runs_its_share_of_the_steps_and_one_at_least(
    engine: Engine, strength: float, steps: int
) -> None:
    fields = request(steps=8, init_image=ANY_IMAGE, strength=strength)
    events = list(engine.generate(make_engine_inputs(fields, drawing(64, 64)), new_control()))[:-1]
    assert [(event.step, event.steps) for event in events if isinstance(event, Progress)] == [
        (n, steps) for n in range(1, steps + 1)
    ]


def test_cancel_stops_within_a_step(engine: Engine) -> None:
    engine.warm(EMBEDDED)
    *steps, last = run_until_cancelled(engine, make_engine_inputs(request(steps=150)))
    assert last == Cancelled() and len(steps) <= 2


def test_what_is_cancelled_before_it_starts_makes_no_step(engine: Engine) -> None:
    control = new_control()
    control.cancelled.set()
    engine.warm(EMBEDDED)
    assert list(engine.generate(make_engine_inputs(request(steps=150)), control)) == [Cancelled()]


def test_closing_the_generator_ends_the_run(engine: Engine) -> None:
    engine.warm(EMBEDDED)
    steps: list[int] = []
    denoiser = engine.store.models["embedded"].denoiser
    hook = denoiser.register_forward_pre_hook(lambda *_: steps.append(1))
    events = engine.generate(make_engine_inputs(request(steps=150)), new_control())
    next(events)
    events.close()
    made = len(steps)
    time.sleep(0.2)
    hook.remove()
    assert len(steps) == made < 10


def test_the_engine_works_on_after_a_cancel(engine: Engine, generate: Generate) -> None:
    before = generate().images[0]
    events = engine.generate(make_engine_inputs(request(steps=150, sampler="UniPC")), new_control())
    next(events)
    events.close()
    assert generate().images[0].tobytes() == before.tobytes()


def test_requests_at_the_same_time_do_not_disturb_each_other(engine: Engine, generate: Generate) -> None:
    requests = [{"sampler": "UniPC", "steps": 4}, {"sampler": "Euler a", "steps": 5, "prompt": "a (green) tree"}]
    alone = [generate(**fields).images[0] for fields in requests]
    together: dict[int, Image.Image] = {}

    def run(index: int) -> None:
        together[index] = generate(**requests[index]).images[0]

    threads = [threading.Thread(target=run, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(difference(together[index], alone[index]) < 0.01 for index in range(2))


def poisoned(folder: Path, target: Path, part: str, weight: str) -> Path:
    shutil.copytree(folder, target)
    file = target / part / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights[weight] = torch.full_like(weights[weight], torch.nan)
    save_file(weights, file)
    return target


@pytest.mark.parametrize(("part", "weight"), [("unet", "conv_out.bias"), ("vae", "decoder.layers.0.bias")])
def test_broken_numbers_end_in_an_error_and_never_in_a_black_picture(
    model_folder: Path, tmp_path: Path, part: str, weight: str
) -> None:
    broken = source_in(poisoned(model_folder, tmp_path / "model", part, weight))
    with pytest.raises(NonFiniteLatents, match="step 1" if part == "unet" else "step 3"):
        list(Engine("cpu").generate(make_engine_inputs(request(), model=broken), new_control()))


def test_too_little_memory_is_an_error_of_its_own(engine: Engine, generate: Generate) -> None:
    def exhausted(*_: Any) -> None:
        raise torch.OutOfMemoryError

    engine.warm(EMBEDDED)
    hook = engine.store.models["embedded"].denoiser.register_forward_pre_hook(exhausted)
    with pytest.raises(OutOfMemory):
        generate()
    hook.remove()
    assert generate().images


def test_a_cpu_without_enough_memory_raises_a_plain_error() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    assert is_out_of_memory(caught.value)


def test_the_engine_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(socket.socket, "connect", refused)
    list(Engine("cpu").generate(make_engine_inputs(request()), new_control()))


def test_the_engine_is_quiet_from_its_import_on() -> None:
    program = """
from imagegen.engine.engine import Engine, JobInputs
from tests.integration.conftest import EMBEDDED, new_control, request
for _ in Engine("cpu").generate(JobInputs(request(), EMBEDDED), new_control()): pass
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("", "")


def test_auto_is_a_device() -> None:
    assert Engine().device in {"cuda", "mps", "cpu"}


def test_a_device_that_is_missing_is_named() -> None:
    missing = "cuda" if torch.backends.mps.is_available() else "mps"
    with pytest.raises(WorkerUnavailable, match=missing):
        Engine(missing)


def test_an_unknown_device_is_named() -> None:
    with pytest.raises(WorkerUnavailable, match="abacus"):
        Engine("abacus")


def test_a_model_that_is_missing_is_named(engine: Engine, generate: Generate, tmp_path: Path) -> None:
    missing = source_in(tmp_path / "nowhere").model_copy(update={"id": "missing", "name": "Missing"})
    for attempt in (
        lambda: engine.warm(missing),
        lambda: list(engine.generate(make_engine_inputs(request(), model=missing), new_control())),
    ):
        with pytest.raises(ModelLoadFailed, match="Missing cannot be loaded: its files are not on disk any more"):
            attempt()
    assert generate().images


def test_a_model_that_is_cut_short_is_named_and_the_engine_works_on(
    engine: Engine, generate: Generate, model_folder: Path, tmp_path: Path
) -> None:
    before = generate().images[0]
    broken = source_in(shutil.copytree(model_folder, tmp_path / "model")).model_copy(update={"id": "broken"})
    file = broken.path / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ModelLoadFailed, match="The model Embedded cannot be loaded: ") as failed:
        engine.warm(broken)
    assert "\n" not in str(failed.value) and len(str(failed.value)) < 400
    assert "broken" not in engine.store.models
    assert generate().images[0].tobytes() == before.tobytes()


def test_a_model_is_loaded_once_and_reported_as_loading() -> None:
    reported: list[tuple[str, ...]] = []
    engine = Engine("cpu", on_change=lambda: reported.append(tuple(engine.store.models)))
    first, second = (list(engine.generate(make_engine_inputs(request()), new_control())) for _ in range(2))
    assert first[0] == Loading(model="Embedded")
    assert not any(isinstance(event, Loading) for event in second)
    assert reported == [("embedded",)]
    engine.release("embedded")
    assert reported == [("embedded",), ()]
    assert next(iter(engine.generate(make_engine_inputs(request()), new_control()))) == Loading(model="Embedded")


def test_a_model_that_moved_is_loaded_from_its_new_place(
    engine: Engine, generate: Generate, model_folder: Path, tmp_path: Path
) -> None:
    expected = generate().images[0]
    moved = source_in(shutil.copytree(model_folder, tmp_path / "model"))
    first, *_, last = engine.generate(make_engine_inputs(request(), model=moved), new_control())
    assert isinstance(first, Loading)
    assert not isinstance(last, Loading | Progress | Cancelled)
    assert last.images[0].tobytes() == expected.tobytes()


def test_models_beyond_the_memory_leave_in_the_order_in_which_they_were_used() -> None:
    names = ("one", "two", "three")
    one, two, three = (EMBEDDED.model_copy(update={"id": name}) for name in names)
    roomy = Engine("cpu")
    roomy.warm(one)
    engine = Engine("cpu", memory_gb=2.5 * roomy.store.models["one"].size_bytes / 1e9)
    for model in (one, two, one, three):
        engine.warm(model)
    assert list(engine.store.models) == ["one", "three"]
