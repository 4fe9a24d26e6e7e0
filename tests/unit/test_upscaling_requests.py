"""Requests that make pictures larger: what they may say, and what a model or the settings refuse."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagegen.errors import InvalidRequest, NothingToKeep
from imagegen.jobs.sources import resolve_request
from imagegen.model_manager import ModelManager
from imagegen.schema.base import User
from imagegen.schema.events import Progress
from imagegen.schema.input_images import get_input_images
from imagegen.schema.models import ModelInfo
from imagegen.schema.request import GenerationRequest
from imagegen.schema.validation import fill_in_defaults, parse_request
from imagegen.storage.jobs import JobSources
from tests.doubles import make_library
from tests.unit.in_process_studio import run_in_process_studio
from tests.unit.wait import wait_until_true

IMAGE = "0" * 64
ANN = User(id="ann")


def test_a_picture_alone_is_made_four_times_as_large() -> None:
    request = parse_request({"image": IMAGE})
    assert (request.task, request.scale, request.prompt, get_input_images(request)) == (
        "upscale", 4, "", {"image": IMAGE},
    )  # fmt: skip
    assert request.is_upscaled
    assert GenerationRequest.model_validate_json(request.model_dump_json()) == request


def test_a_picture_that_is_painted_is_not_made_larger_unless_it_says_so() -> None:
    assert not parse_request({"prompt": "x"}).is_upscaled
    assert parse_request({"prompt": "x", "scale": 1.5}).is_upscaled
    assert parse_request({"prompt": "x", "upscaler": "Lanczos"}).is_upscaled


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "prompt: is required"),
        ({"image": IMAGE, "prompt": "x"}, "prompt: cannot be used for upscale"),
        ({"image": IMAGE, "seed": 5}, "seed: cannot be used for upscale"),
        ({"image": IMAGE, "init_image": IMAGE, "prompt": "x"}, "image: cannot be used for img2img"),
        ({"image": IMAGE, "scale": 0.5}, "scale: must be between 1 and 8"),
        ({"image": IMAGE, "upscaler": ""}, "upscaler: must not be empty"),
        ({"prompt": "x", "hires_steps": 3}, "hires_steps: needs a hires_scale"),
        ({"prompt": "x", "hires_upscaler": "Latent"}, "hires_upscaler: needs a hires_scale"),
        ({"prompt": "x", "hires_scale": 4.5}, "hires_scale: must be between 1 and 4"),
        ({"prompt": "x", "hires_scale": 2, "hires_strength": 0}, "hires_strength: must be greater than 0"),
    ],
)
def test_what_a_request_cannot_say_is_refused_by_name(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_request(fields)
    assert str(refused.value).startswith(problem)


def get_model(folder: Path, name: str) -> ModelInfo:
    return make_library(folder).models.get(name).info


@pytest.mark.parametrize(
    ("model", "fields", "problem"),
    [
        ("embedded", {"hires_scale": 3}, "hires_scale: gives a width of 1536 pixels; at most 1024 are possible"),
        ("flux.1-dev", {"hires_upscaler": "Latent"}, "hires_upscaler: must be the name of an upscaler"),
        ("sana-1.6b", {}, "hires_scale: cannot be used"),
    ],
)
def test_a_model_refuses_a_second_pass_that_it_cannot_make(
    tmp_path: Path, model: str, fields: dict[str, Any], problem: str
) -> None:
    request = parse_request({"prompt": "x", "width": 512, "height": 512, "hires_scale": 2} | fields)
    with pytest.raises(InvalidRequest, match=problem):
        fill_in_defaults(request, get_model(tmp_path, model), seed=1)


def resolve(folder: Path, **fields: Any) -> tuple[GenerationRequest, JobSources]:
    manager: Any = ModelManager.__new__(ModelManager)
    manager.library = make_library(folder)
    return resolve_request(manager, parse_request(fields))


def test_open_upscalers_are_filled_in(tmp_path: Path) -> None:
    request, sources = resolve(tmp_path, image=IMAGE)
    assert request.upscaler == sources.upscalers["upscaler"].id == "studio-x4"
    assert sources.model is None and len(sources.upscaler_stamps) == 1
    assert JobSources.model_validate_json(sources.model_dump_json()) == sources
    request, sources = resolve(tmp_path, prompt="x", hires_scale=2, width=128, height=128)
    assert request.hires_upscaler == "Latent" and not sources.upscalers
    request, sources = resolve(tmp_path, prompt="x", hires_scale=2, hires_upscaler="Lanczos", scale=2, width=128)
    assert {field: each.id for field, each in sources.upscalers.items()} == {
        "hires_upscaler": "Lanczos", "upscaler": "studio-x4",
    }  # fmt: skip


async def test_an_upscaling_has_nothing_to_keep_before_its_end(tmp_path: Path) -> None:
    async with run_in_process_studio(tmp_path) as studio:
        image_id = await studio.service.add_input(make_picture(), ANN, "image")
        job_id = await studio.service.submit(parse_request({"image": image_id, "scale": 2}), ANN)
        await wait_until_true(lambda: bool(studio.worker.submitted))
        order = studio.worker.submitted[0]
        assert order.model is None and order.upscalers["upscaler"].id == "studio-x4"
        studio.worker.emit_event(job_id, Progress(step=1, steps=4))
        await wait_until_true(lambda: bool(studio.service.queue.count_running(ANN.id)))
        with pytest.raises(NothingToKeep):
            await studio.service.finish_early(job_id, ANN)
        studio.finish_job(job_id)
        events = [event async for event in studio.service.events(job_id, ANN)]
        assert events[-1].type == "result"


def make_picture() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (32, 32), "red").save(buffer, "PNG")
    return buffer.getvalue()
