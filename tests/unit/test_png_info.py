"""`png_info` in REST, MCP and AUTOMATIC1111's API, without a server."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from imagegen.media.metadata import notes
from tests.support.comfyui_graphs import build_simple_graph
from tests.support.picture_files import write_png, write_with_comment
from tests.support.tool_pictures import SETTINGS, build_infotext, build_swarmui_json, write_infotext
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio
from tests.unit.mcp_client import McpClient


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[InProcessStudio]:
    async with run_in_process_studio(tmp_path, requests_per_minute=100) as studio:
        yield studio


def encode(content: bytes) -> str:
    return base64.b64encode(content).decode()


async def ask(studio: InProcessStudio, image: str, **fields: Any) -> dict[str, Any]:
    answer = await studio.client_without_token.post("/v1/png_info", json={"image": image, **fields})
    assert answer.status_code == 200, answer.text
    read: dict[str, Any] = answer.json()
    return read


async def test_rest_answers_a_request_and_what_became_of_each_setting(studio: InProcessStudio) -> None:
    read = await ask(studio, encode(write_infotext(f"{SETTINGS}, Model: gone, Version: v1.10.1")))
    assert (read["tool"], read["version"]) == ("AUTOMATIC1111", "v1.10.1")
    assert {"field": "seed", "value": 7, "from": "Seed", "found": "7", "status": "matched", "note": ""} in read[
        "fields"
    ]
    assert {
        "field": "model", "value": None, "from": "Model", "found": "gone", "status": "missing",
        "note": "This model is not here. embedded is used instead.",
    } in read["fields"]  # fmt: skip
    job = await studio.client_without_token.post("/v1/jobs", json=read["settings"])
    assert job.status_code == 202, job.text


async def test_a_picture_of_the_studio_is_read_by_its_id(studio: InProcessStudio) -> None:
    client = McpClient(studio)
    job = (await studio.client_without_token.post("/v1/jobs", json={"prompt": "a red circle"})).json()["id"]
    picture = studio.finish_job(seed=7, prompt="a red circle").pictures[0]
    await client.wait_for_state(job, "done")
    by_id = await ask(studio, picture.id)
    file = (await studio.client_without_token.get(f"/v1/images/{picture.id}")).content
    assert by_id == await ask(studio, encode(file)) == await ask(studio, f"data:image/png;base64,{encode(file)}")
    assert by_id["tool"] == "Image Studio" and by_id["settings"]["seed"] == 7


async def test_a_downloaded_jpeg_has_its_settings(studio: InProcessStudio) -> None:
    client = McpClient(studio)
    job = (await studio.client_without_token.post("/v1/jobs", json={"prompt": "a red circle"})).json()["id"]
    picture = studio.finish_job(seed=7, prompt="a red circle").pictures[0]
    await client.wait_for_state(job, "done")
    for image_format in ("jpeg", "webp"):
        file = (await studio.client_without_token.get(f"/v1/images/{picture.id}?format={image_format}")).content
        settings = (await ask(studio, encode(file)))["settings"]
        assert (settings["prompt"], settings["seed"], settings["model"]) == ("a red circle", 7, "embedded")


async def test_the_model_for_pictures_whose_own_is_not_here_can_be_named(studio: InProcessStudio) -> None:
    image = encode(write_infotext(f"{SETTINGS}, Model: gone"))
    read = await ask(studio, image, model="embedded-fast")
    assert "embedded-fast is used instead" in next(each["note"] for each in read["fields"] if each["field"] == "model")
    refusal = await studio.client_without_token.post("/v1/png_info", json={"image": image, "model": "nowhere"})
    assert refusal.status_code == 404 and refusal.json()["error"]["code"] == "unknown_model"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "image: is required"),
        ({"image": 5}, "image: should be a valid string"),
        ({"image": "no picture"}, "image: must be a picture in base64, or the id of one of yours"),
        ({"image": encode(b"no picture")}, "image: must be a whole picture in one of PNG, JPEG"),
        ({"image": "0" * 32}, "image: is not known here"),
        ({"image": encode(write_png({})[:50])}, "image: must be a whole picture in one of PNG, JPEG"),
        ({"image": encode(write_png({"a": "x" * 9_000_000}, True))}, "image: must have at most 4 MB of texts"),
        ({"image": encode(write_png({})), "models": "x"}, "models: is not a field of a request"),
    ],
)  # fmt: skip
async def test_what_cannot_be_read_is_refused_by_its_field(
    studio: InProcessStudio, body: dict[str, Any], message: str
) -> None:
    answer = await studio.client_without_token.post("/v1/png_info", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(message)


async def test_mcp_answers_the_same_as_rest(studio: InProcessStudio) -> None:
    image = encode(write_png({"prompt": build_simple_graph()}))
    _, (text,) = await McpClient(studio).call("png_info", {"image": image})
    assert json.loads(text) == await ask(studio, image)
    refusal = await McpClient(studio).refuse("png_info", {"image": encode(b"x" * 100)})
    assert "must be a whole picture" in refusal


async def test_the_web_uis_own_route_keeps_its_form(studio: InProcessStudio) -> None:
    text = build_infotext(f"{SETTINGS}, Clip skip: 2")
    for content in (write_png({"parameters": text}), write_with_comment("JPEG", text, "utf-16-le", little_endian=True)):
        answer = await studio.client_without_token.post("/sdapi/v1/png-info", json={"image": encode(content)})
        assert answer.json()["info"] == text and answer.json()["items"]["parameters"] == text
        parameters = answer.json()["parameters"]
        assert (parameters["Steps"], parameters["Size-1"], parameters["RNG"]) == ("12", "128", "GPU")


@pytest.mark.parametrize(
    ("content", "prompt"),
    [
        (write_infotext(SETTINGS, "a cat <lora:neon:0.5>"), "a cat <lora:neon:0.5>"),
        (write_png({"parameters": "a text without settings"}), "a text without settings"),
        (write_png({"prompt": build_simple_graph()}), "a red circle"),
        (write_png({"parameters": build_swarmui_json(prompt="a red fox")}), "a red fox"),
    ],
    ids=["infotext", "text", "ComfyUI", "SwarmUI"],
)
async def test_interrogate_finds_the_prompt_of_any_tool(studio: InProcessStudio, content: bytes, prompt: str) -> None:
    answer = await studio.client_without_token.post("/sdapi/v1/interrogate", json={"image": encode(content)})
    assert answer.json() == {"caption": prompt}


def test_a_note_is_a_sentence() -> None:
    for name, text in vars(notes).items():
        if name.isupper():
            assert text.endswith(".") and text[0].isupper(), name
