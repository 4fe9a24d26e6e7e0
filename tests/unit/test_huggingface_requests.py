"""How bodies of Hugging Face's Inference API map to requests, and which are refused."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagegen.api.huggingface.requests import (
    build_body_schema,
    convert_inference_request,
    parse_inference_body,
    report_inference_names,
)
from imagegen.api.huggingface.routes import BUSY_PAUSE_SECONDS, choose_format
from imagegen.errors import InvalidRequest
from imagegen.schema.request import GenerationRequest, LoraUse
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio
from tests.unit.wait import wait_until_true

PROMPT = "a red circle"
IMAGE_ID = "0" * 64


def make_picture(file_format: str = "PNG") -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, format=file_format)
    return buffer.getvalue()


PICTURE = base64.b64encode(make_picture()).decode()


def convert(inputs: str = PROMPT, model_id: str | None = None, **parameters: Any) -> GenerationRequest:
    parsed = parse_inference_body(json.dumps({"inputs": inputs, "parameters": parameters}).encode())
    image_id = IMAGE_ID if parsed.picture is not None else None
    return convert_inference_request(parsed, parsed.prompt, model_id, image_id, {})


def test_parameters_have_the_inference_apis_names() -> None:
    request = convert(
        negative_prompt="blue", num_inference_steps=12, guidance_scale=3.5, width=256, height=128, seed=7,
        scheduler="EulerAncestralDiscreteScheduler",
    )  # fmt: skip
    assert request == GenerationRequest(
        prompt=PROMPT, negative_prompt="blue", steps=12, guidance_scale=3.5, width=256, height=128, seed=7,
        sampler="Euler a",
    )  # fmt: skip


def test_what_the_inference_api_does_not_have_keeps_its_name() -> None:
    ours: dict[str, Any] = {"clip_skip": 1, "embeddings": ["grain"], "step_cache": 0.2}
    request = convert(model_id="embedded", loras=[{"lora": "neon", "weight": 0.5}], scheduler="DPM++ 2M Karras", **ours)
    loras = (LoraUse(lora="neon", weight=0.5),)
    assert request == GenerationRequest(prompt=PROMPT, model="embedded", loras=loras, sampler="DPM++ 2M Karras", **ours)


def test_null_leaves_a_parameter_open() -> None:
    assert convert(seed=None, width=None, target_size=None) == GenerationRequest(prompt=PROMPT)


@pytest.mark.parametrize("body", [{"inputs": PROMPT}, {"inputs": PROMPT, "options": {"wait_for_model": True}}])
def test_a_prompt_is_enough(body: dict[str, Any]) -> None:
    parsed = parse_inference_body(json.dumps(body).encode())
    assert (parsed.prompt, parsed.picture) == (PROMPT, None)


@pytest.mark.parametrize("inputs", [PICTURE, f"data:image/png;base64,{PICTURE}"])
def test_a_picture_in_base64_is_a_start_image(inputs: str) -> None:
    request = convert(inputs, prompt="a lake", strength=0.5, target_size={"width": 128, "height": 64})
    assert request == GenerationRequest(prompt="a lake", strength=0.5, width=128, height=64, init_image=IMAGE_ID)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_a_picture_may_be_the_whole_body(file_format: str) -> None:
    content = make_picture(file_format)
    parsed = parse_inference_body(content)
    assert (parsed.prompt, parsed.picture) == (None, content)


@pytest.mark.parametrize("prompt", ["bird", "Qk0=", "iVBORw0KGgo=", "a" * 400, "data:image/png;base64,bird"])
def test_text_that_happens_to_be_base64_is_a_prompt(prompt: str) -> None:
    assert convert(prompt) == GenerationRequest(prompt=prompt)


@pytest.mark.parametrize(
    ("inputs", "parameters", "message"),
    [
        (PROMPT, {"num_inference_steps": 0}, "num_inference_steps: must be between 1 and 150"),
        (PROMPT, {"num_inference_steps": "many"}, "num_inference_steps: must be a number"),
        (PROMPT, {"scheduler": "BestScheduler"}, "scheduler: must be one of 'Euler'"),
        (PROMPT, {"scheduler": ["x"]}, "scheduler: must be one of 'Euler'"),
        (PROMPT, {"width": 130}, "width: must be a multiple of 8, such as 128"),
        (PROMPT, {"target_size": {"width": 130, "height": 64}}, "target_size: must be a multiple of 8"),
        (PROMPT, {"target_size": {"width": 128}}, "target_size.height: is required"),
        (PROMPT, {"target_size": [128, 64]}, "target_size: must be an object with width and height"),
        (PROMPT, {"target_size": {"width": 64, "height": 64}, "width": 64}, "target_size: is another way to send"),
        (PROMPT, {"strength": 0.5}, "strength: needs an init_image"),
        (PROMPT, {"steps": 5}, "steps: is not a field of a request"),
        (PROMPT, {"batch_size": 2}, "batch_size: is not a field of a request"),
        (PROMPT, {"num_images_per_prompt": 2}, "num_images_per_prompt: is not a field of a request"),
        (PROMPT, {"model": "embedded"}, "model: is not a field of a request"),
        ("\ud800", {}, r"inputs: is not valid"),
        ("a" * 4001, {}, "inputs: must have at most 4000 characters"),
        ("no picture", {"prompt": "a lake"}, "inputs: must be a picture in base64 if there is a prompt"),
        (PICTURE, {"prompt": 7}, "prompt: should be a valid string"),
        (PICTURE, {"prompt": "a lake", "strength": 2}, "strength: must be greater than 0 and at most 1"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(inputs: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{message}") as refused:
        convert(inputs, **parameters)
    assert refused.value.field == message.split(":", maxsplit=1)[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "inputs: is required"),
        (b"{}", "inputs: is required"),
        (b'{"inputs": 7}', "inputs: should be a valid string"),
        (b'{"inputs": "x", "parameters": [1]}', "parameters: should be a valid dictionary"),
        (b'{"inputs": "x", "prompt": "y"}', "prompt: is not a field of a request"),
        (b'{"inputs": "x"', "body: must be valid JSON, or a picture"),
        (b'{"inputs": "\xff"}', "body: must be valid JSON, or a picture"),
        (b'{"inputs": ' + b"[" * 100_000, "body: must be valid JSON, or a picture"),
    ],
)
def test_a_wrong_body_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{message}"):
        parse_inference_body(content)


def test_later_errors_have_the_inference_apis_names() -> None:
    parsed = parse_inference_body(make_picture())
    with pytest.raises(InvalidRequest, match="^inputs: must be a whole picture"), report_inference_names(parsed):
        raise InvalidRequest("init_image", "must be a whole picture")


@pytest.mark.parametrize(
    ("accept", "file_format"),
    [
        ("image/png", "png"), ("image/jpeg", "jpeg"), ("text/html, image/webp;q=0.8, image/png", "webp"),
        ("*/*", "png"), ("image/*", "png"), ("", "png"), ("IMAGE/JPEG", "jpeg"),
    ],
)  # fmt: skip
def test_the_accept_header_chooses_the_format(accept: str, file_format: str) -> None:
    assert choose_format(accept) == file_format


def test_the_documentation_names_all_that_a_body_takes() -> None:
    schema = build_body_schema()
    assert "$ref" not in json.dumps(schema) and schema["required"] == ["inputs"]
    parameters = schema["properties"]["parameters"]["anyOf"][0]["properties"]
    assert {"prompt", "num_inference_steps", "scheduler", "target_size", "strength", "loras"} <= set(parameters)
    assert {"steps", "sampler", "batch_size", "init_image", "model"}.isdisjoint(parameters)


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[InProcessStudio]:
    async with run_in_process_studio(tmp_path) as studio:
        yield studio


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/hf", 400, {"error": "inputs: is required", "code": "invalid_request"}),
        ("/hf/other", 404, {"error": "This resource does not exist.", "code": "not_found"}),
    ],
)
async def test_errors_have_the_inference_apis_form(
    studio: InProcessStudio, path: str, status: int, body: dict[str, Any]
) -> None:
    answer = await studio.client_without_token.post(path)
    assert (answer.status_code, answer.json()) == (status, body)


async def test_a_model_may_have_an_owner(studio: InProcessStudio) -> None:
    answer = await studio.client_without_token.post("/hf/models/owner/name", json={"inputs": PROMPT})
    assert answer.status_code == 404 and answer.json()["error"].startswith("model: there is no 'owner/name' here")


async def test_the_answer_is_the_picture_and_names_its_job(studio: InProcessStudio) -> None:
    pending = asyncio.ensure_future(
        studio.client_without_token.post("/hf", json={"inputs": PROMPT}, headers={"Accept": "image/jpeg"})
    )
    await wait_until_true(lambda: studio.worker.submitted)
    studio.finish_job()
    answer = await pending
    assert (answer.headers["content-type"], answer.headers["x-job-id"]) == ("image/jpeg", studio.worker.current_job_id)
    assert answer.content.startswith(b"\xff\xd8")


async def test_a_client_that_repeats_a_request_at_once_has_to_wait(studio: InProcessStudio) -> None:
    studio.worker.report_gone("no device")
    await wait_until_true(lambda: studio.service.worker_state == "unavailable")
    began = time.monotonic()
    answer = await studio.client_without_token.post("/hf", json={"inputs": PROMPT})
    assert (answer.status_code, answer.json()["code"]) == (503, "worker_unavailable")
    assert time.monotonic() - began >= BUSY_PAUSE_SECONDS
