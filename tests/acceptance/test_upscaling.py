"""A picture is made larger: the tool "upscale" through each API, what it refuses, and what becomes of its pictures."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import websockets
from gradio_client import Client, handle_file
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ImageContent, TextContent
from PIL import Image

from tests.acceptance.conftest import Studio, run_coroutine
from tests.acceptance.test_parity import DoorResult, read_door_result

Fields = dict[str, Any]
SCALED: Fields = {"scale": 3, "upscaler": "studio-x4"}


def draw_picture() -> Image.Image:
    image = Image.new("RGB", (40, 24), "navy")
    image.paste("orange", (10, 6, 30, 18))
    return image


def encode(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


PICTURE = encode(draw_picture())


def by_rest(studio: Studio, fields: Fields) -> DoorResult:
    answer = httpx.post(f"{studio.url}/v1/upscale", json={"image": PICTURE, **fields}, timeout=60).json()
    return read_door_result(base64.b64decode(answer["image_b64"]), answer["receipt"])


def by_job(studio: Studio, fields: Fields) -> DoorResult:
    job = httpx.post(f"{studio.url}/v1/jobs", json={"image": PICTURE, **fields}).json()
    events = httpx.get(f"{studio.url}/v1/jobs/{job['id']}/events", timeout=60).text
    assert "event: progress" in events and "event: result" in events
    result = httpx.get(f"{studio.url}/v1/jobs/{job['id']}").json()["result"]
    return read_door_result(httpx.get(studio.url + result["url"]).content, result["receipt"])


def by_gradio_client(studio: Studio, fields: Fields) -> DoorResult:
    picture = studio.data_dir.parent / "picture.png"
    draw_picture().save(picture)
    file, receipt = Client(studio.url, verbose=False).predict(image=handle_file(picture), **fields, api_name="/upscale")
    return read_door_result(Path(file).read_bytes(), receipt)


def by_websocket(studio: Studio, fields: Fields) -> DoorResult:
    async def exchange_messages() -> Fields:
        async with websockets.connect(f"{studio.url.replace('http', 'ws')}/v1/ws", max_size=None) as socket:
            await socket.send(json.dumps({"image": PICTURE, **fields}))
            async for text in socket:
                message: Fields = json.loads(text)
                if message["type"] == "result":
                    data: Fields = message["data"]
                    return data
        raise AssertionError("closed too early")

    data = run_coroutine(exchange_messages())
    return read_door_result(base64.b64decode(data["image_b64"]), data["receipt"])


def by_mcp(studio: Studio, fields: Fields) -> DoorResult:
    async def call() -> tuple[str, str]:
        async with (
            streamable_http_client(f"{studio.url}/gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            answer = await session.call_tool("upscale", {"image": PICTURE, **fields})
            (picture,) = [content.data for content in answer.content if isinstance(content, ImageContent)]
            texts = [content.text for content in answer.content if isinstance(content, TextContent)]
            return picture, texts[-1]

    picture, receipt = run_coroutine(call())
    return read_door_result(base64.b64decode(picture), json.loads(receipt))


def by_automatic1111(studio: Studio, fields: Fields) -> DoorResult:
    body = {"image": PICTURE, "upscaling_resize": fields["scale"], "upscaler_1": fields["upscaler"]}
    answer = httpx.post(f"{studio.url}/sdapi/v1/extra-single-image", json=body, timeout=60).json()
    content = base64.b64decode(answer["image"])
    with Image.open(io.BytesIO(content)) as image:
        return read_door_result(content, json.loads(image.info["receipt"]))


Door = Callable[[Studio, Fields], DoorResult]
DOORS: tuple[Door, ...] = (by_rest, by_job, by_gradio_client, by_websocket, by_mcp, by_automatic1111)


@pytest.fixture(scope="module")
def first(studio: Studio) -> DoorResult:
    return by_rest(studio, SCALED)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_each_api_makes_the_same_picture_larger(studio: Studio, first: DoorResult, door: Door) -> None:
    through = door(studio, SCALED)
    assert through.pixels == first.pixels
    assert through.receipt == through.returned_receipt == first.receipt


def test_the_receipt_gives_the_picture_again(studio: Studio, first: DoorResult) -> None:
    receipt = first.receipt
    assert (receipt["width"], receipt["height"], receipt["final_width"], receipt["final_height"]) == (40, 24, 120, 72)
    again = {name: receipt[name] for name in ("image", "scale", "upscaler")}
    assert by_rest(studio, again).pixels == first.pixels
    assert len(receipt["upscaler_sha256"]) == 64 and receipt["model_id"] is None


def test_without_a_scale_it_becomes_four_times_as_large(studio: Studio) -> None:
    receipt = by_rest(studio, {}).receipt
    assert (receipt["scale"], receipt["upscaler"], receipt["final_width"]) == (4, "studio-x4", 160)


def test_a_picture_of_the_library_is_made_larger_and_found_there(studio: Studio) -> None:
    answer = httpx.post(f"{studio.url}/v1/upscale", json={"image": PICTURE, "scale": 2}, timeout=60).json()
    larger = httpx.post(f"{studio.url}/v1/upscale", json={"image": answer["id"], "scale": 2}, timeout=60).json()
    assert larger["receipt"]["final_width"] == 160
    page = httpx.get(f"{studio.url}/v1/pictures", params={"tool": "upscale", "size": "160x96"}).json()
    assert larger["id"] in [each["id"] for each in page["pictures"]]
    file = httpx.get(f"{studio.url}/v1/images/{larger['id']}", params={"download": True})
    assert file.status_code == 200 and "160" not in file.headers["content-disposition"].partition("filename")[0]


def test_transparency_is_kept_also_in_other_formats(studio: Studio) -> None:
    image = Image.new("RGBA", (16, 16))
    image.paste((255, 0, 0, 255), (4, 4, 12, 12))
    fields = {"image": encode(image), "scale": 2, "upscaler": "Lanczos"}
    answer = httpx.post(f"{studio.url}/v1/upscale", json=fields, timeout=60).json()
    corners = {}
    for file_format in ("png", "webp", "jpeg"):
        content = httpx.get(f"{studio.url}{answer['url']}", params={"format": file_format}).content
        corners[file_format] = np.asarray(Image.open(io.BytesIO(content)))[0, 0].tolist()
    assert corners["png"][3] == corners["webp"][3] == 0
    assert min(corners["jpeg"]) > 245, "white shows through in JPEG"
    assert httpx.get(f"{studio.url}/v1/pictures/{answer['id']}/thumbnail").status_code == 200


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"scale": 9}, "scale", "must be between 1 and 8"),
        ({"scale": "4"}, "scale", "must be a number"),
        ({"upscaler": "4x.pth"}, "upscaler", "it is a pickle"),
        ({"upscaler": "no such"}, "upscaler", "It can be Lanczos, Bicubic, Nearest, studio-x4"),
        ({"upscaler": "owner/never-loaded"}, "upscaler", "is not on disk yet"),
        ({"prompt": "a boat"}, "prompt", "is not a field of a request"),
        ({"image": "x"}, "image", "must be"),
        ({"image": None}, "image", "should be"),
    ],
)
def test_what_cannot_be_is_refused_by_name(studio: Studio, fields: Fields, field: str, problem: str) -> None:
    answer = httpx.post(f"{studio.url}/v1/upscale", json={"image": PICTURE, **fields}).json()
    assert answer["error"]["field"] == field and problem in answer["error"]["message"]


def test_a_picture_that_would_be_too_large_is_refused_by_name(studio: Studio) -> None:
    large = encode(Image.new("RGB", (2000, 1200)))
    answer = httpx.post(f"{studio.url}/v1/upscale", json={"image": large, "scale": 8}).json()
    assert answer["error"]["message"] == "scale: gives 16000 x 9600 pixels; at most 68 million are allowed"


def test_two_upscalers_are_mixed_as_in_the_web_ui(studio: Studio) -> None:
    fields = {"image": PICTURE, "upscaling_resize": 2, "upscaler_1": "Lanczos"}
    mixed = {"upscaler_2": "Nearest", "extras_upscaler_2_visibility": 0.25}

    def enlarge(**more: object) -> np.ndarray:
        answer = httpx.post(f"{studio.url}/sdapi/v1/extra-single-image", json=fields | more, timeout=60).json()
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["image"]))).convert("RGB")).astype(float)

    first, second = enlarge(), enlarge(upscaler_1="Nearest")
    assert np.abs(enlarge(**mixed) - (0.75 * first + 0.25 * second)).max() <= 1
    unknown = fields | {"upscaler_2": "x", "extras_upscaler_2_visibility": 1}
    answer = httpx.post(f"{studio.url}/sdapi/v1/extra-single-image", json=unknown)
    assert answer.status_code == 404 and "upscaler_2: there is no 'x' here" in answer.text


def test_upscalers_are_listed_in_each_api(studio: Studio) -> None:
    names = ["Lanczos", "Bicubic", "Nearest", "studio-x4"]
    assert [each["id"] for each in httpx.get(f"{studio.url}/v1/upscalers/list").json()][:4] == names
    listed = Client(studio.url, verbose=False).predict(api_name="/list_upscalers")
    assert [each["id"] for each in listed][:4] == names
    web_ui = httpx.get(f"{studio.url}/sdapi/v1/upscalers").json()
    assert [each["name"] for each in web_ui][:5] == ["None", *names]
    assert httpx.get(f"{studio.url}/sdapi/v1/latent-upscale-modes").json() == [{"name": "Latent"}]
    loaded = httpx.post(f"{studio.url}/v1/upscalers/load", json={"upscaler": "studio-x4"}).json()
    assert (loaded["architecture"], loaded["scale"]) == ("Compact", 4)
    unloaded = httpx.post(f"{studio.url}/v1/upscalers/unload", json={"upscaler": "studio-x4"}).json()
    assert unloaded == {"unloaded": "studio-x4", "deleted": False}


def test_an_upscaler_of_the_hub_is_loaded_used_and_deleted(hub_studio: Studio) -> None:
    name, url = "studio/upscaler", f"{hub_studio.url}/v1/upscalers"
    refused = httpx.post(f"{hub_studio.url}/v1/upscale", json={"image": PICTURE, "upscaler": name}).json()
    assert refused["error"]["code"] == "not_on_disk"
    loaded = httpx.post(f"{url}/load", json={"upscaler": name}, timeout=60).json()
    assert (loaded["id"], loaded["architecture"], loaded["scale"], loaded["deletable"]) == (name, "ESRGAN", 2, True)
    made = by_rest(hub_studio, {"scale": 2, "upscaler": name})
    assert (made.receipt["upscaler"], made.receipt["final_width"]) == (name, 80)
    unloaded = httpx.post(f"{url}/unload", json={"upscaler": name, "delete": True}).json()
    assert unloaded == {"unloaded": name, "deleted": True}
    assert name not in [each["id"] for each in httpx.get(f"{url}/list").json()]


def test_a_pickle_of_the_hub_is_refused_by_name(hub_studio: Studio) -> None:
    url = f"{hub_studio.url}/v1/upscalers/load"
    answer = httpx.post(url, json={"upscaler": "studio/upscaler-pickle"}, timeout=60).json()
    assert answer["error"]["field"] == "upscaler" and "pickles are never loaded" in answer["error"]["message"]
    named = httpx.post(url, json={"upscaler": "studio/upscaler-pickle/2x.pth"}, timeout=60).json()
    assert "it is a pickle, which may run code" in named["error"]["message"]
