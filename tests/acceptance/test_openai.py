"""OpenAI's own client, and requests as Open WebUI sends them, against a real studio."""

from __future__ import annotations

import base64
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client
from openai import APIStatusError, BadRequestError, NotFoundError, OpenAI
from openai.types import ImagesResponse
from PIL import Image

from tests.acceptance.conftest import SIDE, Studio

BEARER = {"Authorization": "Bearer sk-any"}


@pytest.fixture
def client(studio: Studio) -> OpenAI:
    return OpenAI(base_url=f"{studio.url}/v1", api_key="sk-any", max_retries=0)


@pytest.fixture
def picture() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (200, 150), (40, 160, 60)).save(buffer, format="PNG")
    return buffer.getvalue()


def open_png(content: str | None) -> Image.Image:
    assert content is not None
    image = Image.open(BytesIO(base64.b64decode(content)))
    image.load()
    return image


def pictures(answer: ImagesResponse) -> list[Image.Image]:
    assert answer.data is not None
    return [open_png(each.b64_json) for each in answer.data]


def receipts(answer: ImagesResponse) -> list[dict[str, Any]]:
    assert answer.model_extra is not None
    extra_fields: list[dict[str, Any]] = answer.model_extra["receipts"]
    return extra_fields


def test_the_same_seed_gives_the_same_picture_as_through_gradio(client: OpenAI, studio: Studio) -> None:
    answer = client.images.generate(
        prompt="a red circle", model="embedded", size=f"{SIDE}x{SIDE}", extra_body={"seed": 7, "steps": 4}
    )
    file, receipt = Client(studio.url, verbose=False).predict("a red circle", seed=7, steps=4, api_name="/txt2img")
    assert receipts(answer) == [receipt]
    assert abs(answer.created - time.time()) < 60 and answer.size == f"{SIDE}x{SIDE}"
    (image,) = pictures(answer)
    with Image.open(Path(file)) as same:
        assert image.tobytes() == same.tobytes() and image.info == same.info


def test_several_pictures_take_seeds_one_after_another(client: OpenAI) -> None:
    answer = client.images.generate(prompt="a red circle", n=2, extra_body={"seed": 5, "num_inference_steps": 2})
    first, second = pictures(answer)
    assert first.tobytes() != second.tobytes()
    assert [(receipt["seed"], receipt["steps"]) for receipt in receipts(answer)] == [(5, 2), (6, 2)]


@pytest.mark.parametrize("output_format", ["jpeg", "webp"])
def test_a_picture_comes_in_other_formats(client: OpenAI, output_format: Any) -> None:
    (image,) = pictures(
        client.images.generate(
            prompt="a red circle", output_format=output_format, output_compression=60, extra_body={"steps": 2}
        )
    )
    assert image.format == output_format.upper() and "exif" in image.info


def test_a_link_gives_the_picture_in_its_format_without_sign_in(client: OpenAI) -> None:
    answer = client.images.generate(
        prompt="a red circle", response_format="url", output_format="webp", extra_body={"steps": 2}
    )
    assert answer.data is not None and answer.data[0].url is not None and answer.data[0].b64_json is None
    file = httpx.get(answer.data[0].url)
    assert file.status_code == 200 and file.headers["content-type"] == "image/webp"
    assert Image.open(BytesIO(file.content)).format == "WEBP"


def test_a_picture_is_edited(client: OpenAI, picture: bytes, tmp_path: Path) -> None:
    file = tmp_path / "start.png"
    file.write_bytes(picture)
    settings = {"seed": 7, "steps": 4, "strength": 0.5, "loras": [{"lora": "neon", "weight": 0.5}]}
    # The size that the picture has by default, in the proportions of the start image.
    alone = client.images.edit(image=file, prompt="a red circle", size="296x224", extra_body=settings)
    listed = client.images.edit(image=[("start.png", picture)], prompt="a red circle", extra_body=settings)
    (receipt,) = receipts(alone)
    assert (receipt["strength"], receipt["seed"], receipt["loras"][0]["weight"]) == (0.5, 7, 0.5)
    assert len(receipt["init_image"]) == 64
    assert pictures(alone)[0].tobytes() == pictures(listed)[0].tobytes()


def test_a_variation_of_a_picture_from_here_uses_its_prompt(client: OpenAI, picture: bytes) -> None:
    made = client.images.generate(prompt="a blue circle on a red background", extra_body={"steps": 2})
    assert made.data is not None and made.data[0].b64_json is not None

    def variation(content: bytes, **fields: Any) -> dict[str, Any]:
        with pytest.deprecated_call():
            return receipts(client.images.create_variation(image=content, extra_body={"steps": 4} | fields))[0]

    assert variation(base64.b64decode(made.data[0].b64_json))["prompt"] == "a blue circle on a red background"
    assert variation(picture)["prompt"] == "a picture"
    assert variation(picture, prompt="a green square", strength=0.25)["strength"] == 0.25


def test_a_stream_shows_how_it_goes(client: OpenAI) -> None:
    """On a fast machine there may be fewer previews than requested."""
    events = list(
        client.images.generate(
            prompt="a red circle", stream=True, partial_images=2, output_format="jpeg", extra_body={"steps": 30}
        )
    )
    *partial, completed = events
    assert {event.type for event in partial} == {"image_generation.partial_image"} and len(partial) <= 2
    indexes = [event.partial_image_index for event in partial if event.type == "image_generation.partial_image"]
    assert indexes == list(range(len(partial)))
    assert completed.type == "image_generation.completed" and completed.usage.total_tokens == 0
    for event in events:
        assert event.output_format == "jpeg" and event.background == "opaque"
        picture = open_png(event.b64_json)
        assert picture.format == "JPEG" and event.size == f"{picture.width}x{picture.height}"
    assert completed.size == f"{SIDE}x{SIDE}"


def test_a_stream_of_an_edit_ends_with_each_picture(client: OpenAI, picture: bytes) -> None:
    stream = client.images.edit(
        image=picture, prompt="a red circle", n=2, stream=True, extra_body={"steps": 4, "seed": 7}
    )
    assert [event.type for event in stream] == ["image_edit.completed"] * 2


def test_disconnecting_from_a_stream_cancels_the_job(client: OpenAI) -> None:
    client.images.generate(prompt="a red circle", n=8, stream=True, extra_body={"steps": 150}).close()
    began = time.monotonic()
    client.images.generate(prompt="a blue circle", extra_body={"steps": 1})
    assert time.monotonic() - began < 30


def test_models_are_listed_and_shown(client: OpenAI) -> None:
    model, fast = client.models.list().data
    assert fast.id == "embedded-fast" and (model.id, model.object, model.owned_by) == ("embedded", "model", "studio")
    assert client.models.retrieve("embedded") == model


def test_the_studios_own_list_of_models_stays_where_it_is(studio: Studio) -> None:
    assert "embedded" in [status["model"]["id"] for status in httpx.get(f"{studio.url}/v1/models/list").json()]


@pytest.mark.parametrize("name", ["nobody", "nobody/nothing"])
def test_an_unknown_model_is_reported_as_such(client: OpenAI, name: str) -> None:
    for request in (client.models.retrieve, lambda name: client.images.generate(prompt="a red circle", model=name)):
        with pytest.raises(NotFoundError, match=f"there is no '{name}' here") as refused:
            request(name)
        assert (refused.value.code, refused.value.param) == ("unknown_model", "model")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"n": 9}, "n"),
        ({"size": "4096x128"}, "size"),
        ({"size": "1024x1024"}, "size"),
        ({"quality": "best"}, "quality"),
        ({"background": "transparent"}, "background"),
        ({"prompt": "<hypernet:x>"}, "prompt"),
        ({"stream": True, "partial_images": 4}, "partial_images"),
        ({"extra_body": {"steps": 0}}, "steps"),
        ({"extra_body": {"colour": "red"}}, "colour"),
    ],
)
def test_a_wrong_field_is_refused_by_name(client: OpenAI, changes: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequestError, match=f"{param}: ") as refused:
        client.images.generate(**{"prompt": "a red circle", **changes})
    assert (refused.value.code, refused.value.param, refused.value.type) == (
        "invalid_request", param, "invalid_request_error",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": b"no picture"}, "image: must be a whole picture"),
        ({"image": b""}, "image: must be a whole picture"),
        ({"image": bytes(21 * 2**20)}, "image: must be at most 20 MB"),
        ({"image": [b"one", b"two"]}, "image: must be one picture"),
        ({"mask": b"mask"}, "mask: must be a whole picture"),
        ({"input_fidelity": "none"}, "input_fidelity: must be one of 'low' or 'high'"),
        ({"extra_body": {"strength": 2}}, "strength: must be greater than 0 and at most 1"),
        ({"extra_body": {"steps": "many"}}, "steps: must be a number"),
    ],
)
def test_a_wrong_field_of_a_form_is_refused_by_name(
    client: OpenAI, picture: bytes, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadRequestError, match=message) as refused:
        client.images.edit(**{"image": picture, "prompt": "a red circle", **changes})
    assert refused.value.param == message.split(":", maxsplit=1)[0]


def test_more_than_the_studio_takes_is_refused_in_openais_form(client: OpenAI) -> None:
    with pytest.raises(APIStatusError, match="The request is too large") as refused:
        client.images.edit(image=bytes(30 * 2**20), prompt="a red circle")
    assert (refused.value.status_code, refused.value.code) == (413, "too_large")


@pytest.mark.parametrize(
    ("content_type", "body", "param"),
    [("application/json", b'{"prompt": "x"}', "body"), ("multipart/form-data", b"x", "body")],
)
def test_what_is_no_form_is_refused(studio: Studio, content_type: str, body: bytes, param: str) -> None:
    answer = httpx.post(f"{studio.url}/v1/images/edits", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == param


def test_open_webui_makes_a_picture(studio: Studio) -> None:
    """As in open_webui/routers/images.py, with its engine set to openai."""
    answer = httpx.post(
        f"{studio.url}/v1/images/generations?api-version=2025-04-01-preview",
        json={
            "model": "embedded", "prompt": "a red circle", "n": 1, "size": "128x128", "response_format": "b64_json",
            "steps": 2,
        },
        headers={**BEARER, "Content-Type": "application/json"},
        timeout=60,
    )  # fmt: skip
    assert answer.status_code == 200
    assert open_png(answer.json()["data"][0]["b64_json"]).size == (128, 128)


def test_open_webui_fetches_a_picture_by_its_address(studio: Studio) -> None:
    body = {"model": "embedded", "prompt": "a red circle", "n": 1, "response_format": "url", "steps": 2}
    answer = httpx.post(f"{studio.url}/v1/images/generations", json=body, headers=BEARER, timeout=60)
    file = httpx.get(answer.json()["data"][0]["url"], headers=BEARER)
    assert file.headers["content-type"].split("/")[0] == "image"


@pytest.mark.parametrize("field", ["image", "image[]"])
def test_open_webui_edits_a_picture(studio: Studio, picture: bytes, field: str) -> None:
    answer = httpx.post(
        f"{studio.url}/v1/images/edits?api-version=2025-04-01-preview",
        data={
            "model": "embedded", "prompt": "a red circle", "n": "1", "size": "128x128", "response_format": "b64_json",
            "background": "opaque", "steps": "4",
        },
        files=[(field, ("image.png", picture, "image/png"))],
        headers=BEARER,
        timeout=60,
    )  # fmt: skip
    assert answer.status_code == 200
    assert open_png(answer.json()["data"][0]["b64_json"]).size == (128, 128)
