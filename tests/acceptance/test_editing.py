"""Edits of a picture by a prompt, through every API, with models that add no noise to the start image."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import openai
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ImageContent, TextContent
from PIL import Image

from tests.acceptance import test_parity
from tests.acceptance.conftest import Studio, run_coroutine
from tests.acceptance.test_inpainting import encode, to_base64
from tests.acceptance.test_parity import DoorResult, Fields, Refused, read_door_result, receive_from_websocket
from tests.hub.tiny import TINY, TINY_EDITING

START = Image.radial_gradient("L").resize((96, 64)).convert("RGB")
KONTEXT, QWEN = "tiny-flux-kontext", "tiny-qwen-image-edit"
FIELDS: Fields = {"prompt": "make the sky red", "width": 96, "height": 64, "steps": 3, "seed": 11, "model": KONTEXT}


@pytest.fixture(autouse=True, scope="module")
def models(studio: Studio) -> Iterator[None]:
    """The models of this module, in the models folder of the studio."""
    folders = {name: studio.models_dir / name for name in (KONTEXT, QWEN)}
    for name, folder in folders.items():
        (TINY | TINY_EDITING)[name](folder)
    yield
    for name, folder in folders.items():
        httpx.post(f"{studio.url}/v1/models/unload", json={"model": name}, timeout=60)
        shutil.rmtree(folder)


def by_rest(studio: Studio, fields: Fields, file: Path) -> DoorResult:
    body = fields | {"init_image": to_base64(START)}
    answer = httpx.post(f"{studio.url}/v1/img2img", json=body, timeout=120).json()
    if "error" in answer:
        raise Refused(answer["error"]["code"], answer["error"]["message"])
    return read_door_result(base64.b64decode(answer["image_b64"]), answer["receipt"])


def by_websocket(studio: Studio, fields: Fields, file: Path) -> DoorResult:
    message = receive_from_websocket(studio, fields | {"init_image": to_base64(START)})
    if message["type"] == "error":
        raise Refused(message["code"], message["message"])
    return read_door_result(base64.b64decode(message["data"]["image_b64"]), message["data"]["receipt"])


def by_gradio_client(studio: Studio, fields: Fields, file: Path) -> DoorResult:
    client = Client(studio.url, verbose=False)
    try:
        picture, receipt = client.predict(**fields, init_image=handle_file(file), api_name="/img2img")
    except AppError as error:
        raise Refused(error.title, str(error)) from error
    return read_door_result(Path(picture).read_bytes(), receipt)


def by_openai(studio: Studio, fields: Fields, file: Path) -> DoorResult:
    """OpenAI's edits without a mask."""
    client = openai.OpenAI(base_url=f"{studio.url}/v1", api_key="none", max_retries=0)
    extra = {name: value for name, value in fields.items() if name not in ("prompt", "width", "height", "model")}
    try:
        answer = client.images.edit(
            image=("start.png", file.read_bytes()),
            prompt=fields["prompt"],
            size=f"{fields['width']}x{fields['height']}",
            model=fields["model"],
            extra_body=extra,
        )
    except openai.APIStatusError as error:
        raise Refused(error.code, error.message) from error
    assert answer.data is not None and answer.data[0].b64_json is not None
    return read_door_result(base64.b64decode(answer.data[0].b64_json), answer.model_dump()["receipts"][0])


def by_automatic1111(studio: Studio, fields: Fields, file: Path) -> DoorResult:
    names = {"strength": "denoising_strength"}
    body = {names.get(name, name): value for name, value in fields.items() if name != "model"}
    body |= {"init_images": [to_base64(START)], "override_settings": {"sd_model_checkpoint": fields["model"]}}
    answer = httpx.post(f"{studio.url}/sdapi/v1/img2img", json=body, timeout=120).json()
    if "error" in answer:
        raise Refused(answer["error"], answer["errors"])
    return read_door_result(base64.b64decode(answer["images"][0]), json.loads(answer["info"])["receipts"][0])


def by_hugging_face(studio: Studio, fields: Fields, file: Path) -> DoorResult:
    others = {name: value for name, value in fields.items() if name not in ("model", "steps")}
    body = {"inputs": to_base64(START), "parameters": others | {"num_inference_steps": fields["steps"]}}
    address = f"{studio.url}/hf/models/{fields['model']}"
    answer = httpx.post(address, json=body, headers={"Accept": "image/png"}, timeout=120)
    if answer.is_error:
        raise Refused(answer.json()["code"], answer.text)
    job = httpx.get(f"{studio.url}/v1/jobs/{answer.headers['X-Job-Id']}").json()
    return read_door_result(answer.content, job["result"]["receipt"])


def by_mcp(studio: Studio, fields: Fields, file: Path) -> DoorResult:
    async def call() -> DoorResult:
        async with (
            streamable_http_client(f"{studio.url}/gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            answer = await session.call_tool("img2img", fields | {"init_image": to_base64(START)})
        texts = [content.text for content in answer.content if isinstance(content, TextContent)]
        if answer.isError:
            raise Refused(texts[0].partition(":")[0], texts[0])
        (picture,) = [content for content in answer.content if isinstance(content, ImageContent)]
        return read_door_result(base64.b64decode(picture.data), json.loads(texts[-1]))

    return run_coroutine(call())


Door = Callable[[Studio, Fields, Path], DoorResult]
DOORS: tuple[Door, ...] = (
    by_rest, by_websocket, by_gradio_client, by_openai, by_automatic1111, by_hugging_face, by_mcp,
)  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("start") / "start.png"
    path.write_bytes(encode(START))
    return path


@pytest.fixture(scope="module")
def first(studio: Studio, file: Path) -> DoorResult:
    return by_rest(studio, FIELDS, file)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_the_same_edit_is_the_same_picture_with_the_same_receipt(
    studio: Studio, first: DoorResult, door: Door, file: Path
) -> None:
    through = door(studio, FIELDS, file)
    assert through.receipt == through.returned_receipt == first.receipt
    assert through.pixels == first.pixels
    assert first.receipt["strength"] is None and first.receipt["init_image"]
    assert (first.receipt["width"], first.receipt["height"]) == (96, 64)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_an_edit_has_no_strength(studio: Studio, door: Door, file: Path) -> None:
    with pytest.raises(Refused) as refused:
        door(studio, FIELDS | {"strength": 0.5}, file)
    assert "strength: cannot be used with the model tiny-flux-kontext" in refused.value.message


@pytest.mark.parametrize("door", test_parity.DOORS, ids=lambda door: door.__name__)
def test_a_model_that_only_edits_asks_for_a_picture(studio: Studio, door: test_parity.Door) -> None:
    fields = {name: value for name, value in FIELDS.items() if name != "model"}
    with pytest.raises(Refused) as refused:
        door(studio, fields | {"model": QWEN})
    assert "is required with the model tiny-qwen-image-edit" in refused.value.message


def test_the_list_of_models_says_what_each_can_do(studio: Studio) -> None:
    models = httpx.get(f"{studio.url}/v1/models/list").json()
    can = {each["model"]["id"]: each["model"]["can"] for each in models}
    tasks = ("text_to_image", "image_to_image", "inpainting", "strength")
    assert [can[KONTEXT][task] for task in tasks] == [True, True, False, False]
    assert [can[QWEN][task] for task in tasks] == [False, True, False, False]
