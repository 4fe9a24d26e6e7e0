"""The same inpainting request through every API that can say it, and the refusals of each."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ImageContent, TextContent
from PIL import Image, ImageDraw, ImageOps

from tests.acceptance.conftest import Studio, run_coroutine
from tests.acceptance.test_parity import DoorResult, Fields, Refused, read_door_result, receive_from_websocket

START = Image.radial_gradient("L").resize((128, 128)).convert("RGB")
MASK = Image.new("L", START.size)
ImageDraw.Draw(MASK).ellipse((40, 40, 80, 90), fill=255)
FIELDS: Fields = {
    "prompt": "a red circle on a blue background",
    "width": 128,
    "height": 128,
    "steps": 4,
    "guidance_scale": 3.5,
    "sampler": "DPM++ 2M Karras",
    "seed": 11,
    "strength": 0.8,
    "mask_blur": 3,
    "mask_invert": False,
    "mask_area": "masked",
    "mask_padding": 12,
    "mask_fill": "noise",
}


def encode(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def to_base64(image: Image.Image) -> str:
    return base64.b64encode(encode(image)).decode()


def erase(mask: Image.Image) -> Image.Image:
    """Returns the mask as OpenAI's clients send it: transparent where the picture is painted anew."""
    erased = START.copy()
    erased.putalpha(ImageOps.invert(mask))
    return erased


def with_pictures(fields: Fields, mask: Image.Image) -> Fields:
    return fields | {"init_image": to_base64(START), "mask_image": to_base64(mask)}


def save(folder: Path, mask: Image.Image) -> tuple[Path, Path]:
    files = folder / "start.png", folder / "mask.png"
    for file, image in zip(files, (START, mask), strict=True):
        file.write_bytes(encode(image))
    return files


@pytest.mark.parametrize(
    ("route", "size", "expected"),
    [("img2img", (128, 64), (360, 184)), ("inpaint", (128, 64), (128, 64)), ("inpaint", (129, 64), (360, 184))],
)
def test_without_a_size_a_picture_has_the_proportions_of_its_start_image(
    studio: Studio, route: str, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    start, mask = START.resize(size), MASK.resize(size)
    pictures = {"init_image": start} if route == "img2img" else {"init_image": start, "mask_image": mask}
    body = {name: to_base64(image) for name, image in pictures.items()} | {"prompt": "a red circle", "steps": 1}
    receipt = httpx.post(f"{studio.url}/v1/{route}", json=body, timeout=60).json()["receipt"]
    assert (receipt["width"], receipt["height"]) == expected


def by_rest(studio: Studio, fields: Fields, mask: Image.Image, folder: Path) -> DoorResult:
    answer = httpx.post(f"{studio.url}/v1/inpaint", json=with_pictures(fields, mask), timeout=60).json()
    if "error" in answer:
        raise Refused(answer["error"]["message"])
    return read_door_result(base64.b64decode(answer["image_b64"]), answer["receipt"])


def by_websocket(studio: Studio, fields: Fields, mask: Image.Image, folder: Path) -> DoorResult:
    message = receive_from_websocket(studio, with_pictures(fields, mask))
    if message["type"] == "error":
        raise Refused(message["message"])
    return read_door_result(base64.b64decode(message["data"]["image_b64"]), message["data"]["receipt"])


def by_gradio_client(studio: Studio, fields: Fields, mask: Image.Image, folder: Path) -> DoorResult:
    start_file, mask_file = save(folder, mask)
    images = {"init_image": handle_file(start_file), "mask_image": handle_file(mask_file)}
    try:
        file, receipt = Client(studio.url, verbose=False).predict(**fields, **images, api_name="/inpaint")
    except AppError as error:
        raise Refused(str(error)) from error
    return read_door_result(Path(file).read_bytes(), receipt)


def by_openai(studio: Studio, fields: Fields, mask: Image.Image, folder: Path) -> DoorResult:
    extra = {name: value for name, value in fields.items() if name not in ("prompt", "width", "height")}
    client = openai.OpenAI(base_url=f"{studio.url}/v1", api_key="none", max_retries=0)
    try:
        answer = client.images.edit(
            image=("start.png", encode(START)),
            mask=("mask.png", encode(erase(mask) if mask.size == START.size else mask)),
            prompt=fields["prompt"],
            size="128x128",
            extra_body=extra,
        )
    except openai.APIStatusError as error:
        raise Refused(error.message) from error
    assert answer.data is not None and answer.data[0].b64_json is not None
    return read_door_result(base64.b64decode(answer.data[0].b64_json), answer.model_dump()["receipts"][0])


def by_automatic1111(studio: Studio, fields: Fields, mask: Image.Image, folder: Path) -> DoorResult:
    names = {
        "guidance_scale": "cfg_scale",
        "sampler": "sampler_name",
        "strength": "denoising_strength",
        "mask_padding": "inpaint_full_res_padding",
        "mask_invert": "inpainting_mask_invert",
    }
    body = {names.get(name, name): value for name, value in fields.items() if name not in ("mask_area", "mask_fill")}
    body |= {
        "init_images": [to_base64(START)],
        "mask": to_base64(mask),
        "inpaint_full_res": fields["mask_area"] == "masked",
        "inpainting_fill": ["fill", "original", "noise", "nothing"].index(fields["mask_fill"]),
    }
    answer = httpx.post(f"{studio.url}/sdapi/v1/img2img", json=body, timeout=60).json()
    if "error" in answer:
        raise Refused(answer["errors"])
    return read_door_result(base64.b64decode(answer["images"][0]), json.loads(answer["info"])["receipts"][0])


def call_tool(studio: Studio, name: str, arguments: Fields) -> Any:
    async def call() -> Any:
        async with (
            streamable_http_client(f"{studio.url}/gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return await session.call_tool(name, arguments)

    return run_coroutine(call())


def by_mcp(studio: Studio, fields: Fields, mask: Image.Image, folder: Path) -> DoorResult:
    answer = call_tool(studio, "inpaint", with_pictures(fields, mask))
    texts = [content.text for content in answer.content if isinstance(content, TextContent)]
    if answer.isError:
        raise Refused(texts[0])
    (picture,) = [content for content in answer.content if isinstance(content, ImageContent)]
    return read_door_result(base64.b64decode(picture.data), json.loads(texts[-1]))


Door = Callable[[Studio, Fields, Image.Image, Path], DoorResult]
DOORS: tuple[Door, ...] = (by_rest, by_websocket, by_gradio_client, by_openai, by_automatic1111, by_mcp)


@pytest.fixture(scope="module")
def first(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> DoorResult:
    return by_rest(studio, FIELDS, MASK, tmp_path_factory.mktemp("first"))


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_the_same_request_gives_the_same_picture_and_the_same_receipt(
    studio: Studio, first: DoorResult, door: Door, tmp_path: Path
) -> None:
    through = door(studio, FIELDS, MASK, tmp_path)
    assert through.receipt == through.returned_receipt == first.receipt
    assert through.pixels == first.pixels


def test_no_pixel_outside_of_the_mask_changes_and_the_receipt_says_all(studio: Studio, first: DoorResult) -> None:
    assert {name: first.receipt[name] for name in FIELDS} == FIELDS
    pixels = np.frombuffer(first.pixels, np.uint8).reshape(128, 128, 3).astype(np.int16)
    changes = np.abs(pixels - np.asarray(START, np.int16)).max(axis=2)
    assert changes[45:85, 45:75].mean() > 5
    changes[28:104, 28:94] = 0
    assert changes.max() == 0
    again = {name: first.receipt[name] for name in (*FIELDS, "init_image", "mask_image")}
    answer = httpx.post(f"{studio.url}/v1/inpaint", json=again, timeout=60).json()
    assert answer["receipt"] == first.receipt, "the stored pictures can be named by their ids"


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
@pytest.mark.parametrize(
    ("mask", "problem"),
    [
        (Image.new("L", (64, 128), 255), "must have the size of the start image, 128x128, not 64x128"),
        (Image.new("L", (128, 128)), "must have a white part"),
    ],
    ids=["size", "black"],
)
def test_an_unusable_mask_is_refused_by_name(
    studio: Studio, door: Door, mask: Image.Image, problem: str, tmp_path: Path
) -> None:
    name = "mask" if door in (by_openai, by_automatic1111) else "mask_image"
    with pytest.raises(Refused, match=f"{name}: {problem}"):
        door(studio, FIELDS, mask, tmp_path)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_a_wrong_value_is_refused_by_name(studio: Studio, door: Door, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="mask_blur: must be between 0 and 64"):
        door(studio, FIELDS | {"mask_blur": 65}, MASK, tmp_path)


def test_a_picture_is_extended_through_every_api(studio: Studio, tmp_path: Path) -> None:
    fields = {"prompt": "a lake", "steps": 3, "seed": 5, "extend_right": 64, "strength": 0.8}
    image = {"init_image": to_base64(START)}
    answer = httpx.post(f"{studio.url}/v1/outpaint", json=fields | image, timeout=60).json()
    assert (answer["receipt"]["width"], answer["receipt"]["height"]) == (192, 128)
    first = read_door_result(base64.b64decode(answer["image_b64"]), answer["receipt"])
    pixels = np.frombuffer(first.pixels, np.uint8).reshape(128, 192, 3)
    assert (pixels[:, :96] == np.asarray(START)[:, :96]).all()
    message = receive_from_websocket(studio, fields | image)["data"]
    start_file, _ = save(tmp_path, MASK)
    file, receipt = Client(studio.url, verbose=False).predict(
        **fields, init_image=handle_file(start_file), api_name="/outpaint"
    )
    client = openai.OpenAI(base_url=f"{studio.url}/v1", api_key="none", max_retries=0)
    extra = {name: value for name, value in fields.items() if name != "prompt"}
    edit = client.images.edit(image=("start.png", encode(START)), prompt="a lake", extra_body=extra)
    assert edit.data is not None and edit.data[0].b64_json is not None
    body = {"inputs": to_base64(START), "parameters": {"prompt": "a lake", "num_inference_steps": 3} | {
        name: value for name, value in extra.items() if name != "steps"
    }}  # fmt: skip
    inferred = httpx.post(f"{studio.url}/hf", json=body, headers={"Accept": "image/png"}, timeout=60)
    job = httpx.get(f"{studio.url}/v1/jobs/{inferred.headers['X-Job-Id']}").json()
    tool = call_tool(studio, "outpaint", fields | image)
    texts = [content.text for content in tool.content if isinstance(content, TextContent)]
    (drawn,) = [content for content in tool.content if isinstance(content, ImageContent)]
    results = [
        read_door_result(base64.b64decode(drawn.data), json.loads(texts[-1])),
        read_door_result(inferred.content, job["result"]["receipt"]),
        read_door_result(base64.b64decode(message["image_b64"]), message["receipt"]),
        read_door_result(Path(file).read_bytes(), receipt),
        read_door_result(base64.b64decode(edit.data[0].b64_json), edit.model_dump()["receipts"][0]),
    ]
    assert results == [first] * 5
    refused = httpx.post(f"{studio.url}/v1/outpaint", json={"prompt": "a lake"} | image).json()["error"]
    assert (refused["code"], refused["field"]) == ("invalid_request", "extend_left")
