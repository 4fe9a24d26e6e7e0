"""What the REST API refuses. A refused request changes nothing, so that all tests share a studio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from imagegen.api.rest.openapi import SAMPLE_IMAGE, SAMPLE_MASK
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio

pytestmark = pytest.mark.asyncio(loop_scope="module")
REQUEST_BODY = {"prompt": "a red circle", "seed": 7}
START = {"init_image": SAMPLE_IMAGE}
PICTURES = START | {"mask_image": SAMPLE_MASK}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def studio(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[InProcessStudio]:
    async with run_in_process_studio(tmp_path_factory.mktemp("studio")) as studio:
        yield studio


@pytest.mark.parametrize(
    ("path", "body", "code", "field"),
    [
        ("txt2img", {"prompt": "<hypernet:x>"}, "invalid_request", "prompt"),
        ("txt2img", {}, "invalid_request", "prompt"),
        ("txt2img", REQUEST_BODY | {"steps": 0}, "invalid_request", "steps"),
        ("txt2img", REQUEST_BODY | {"steps": True}, "invalid_request", "steps"),
        ("txt2img", REQUEST_BODY | {"steps": "20"}, "invalid_request", "steps"),
        ("txt2img", REQUEST_BODY | {"user": "me"}, "invalid_request", "user"),
        ("txt2img", REQUEST_BODY | {"init_image": "x"}, "invalid_request", "init_image"),
        ("txt2img", REQUEST_BODY | {"loras": [{"lora": "neon", "weight": 9}]}, "invalid_request", "loras[0].weight"),
        ("txt2img", REQUEST_BODY | {"model": "nowhere"}, "unknown_model", "model"),
        ("txt2img", REQUEST_BODY | {"model": "sd-1.5"}, "not_on_disk", "model"),
        ("txt2img", ["prompt"], "invalid_request", "body"),
        ("img2img", REQUEST_BODY, "invalid_request", "init_image"),
        ("img2img", REQUEST_BODY | {"init_image": "no base64"}, "invalid_request", "init_image"),
        ("img2img", REQUEST_BODY | {"init_image": "AAAA"}, "invalid_request", "init_image"),
        ("img2img", REQUEST_BODY | {"init_image": "0" * 32}, "invalid_request", "init_image"),
        ("img2img", REQUEST_BODY | {"init_image": "0" * 64}, "invalid_request", "init_image"),
        ("inpaint", REQUEST_BODY | START, "invalid_request", "mask_image"),
        ("inpaint", REQUEST_BODY | {"mask_image": SAMPLE_MASK}, "invalid_request", "init_image"),
        ("inpaint", REQUEST_BODY | PICTURES | {"mask_image": "0" * 64}, "invalid_request", "mask_image"),
        ("inpaint", REQUEST_BODY | PICTURES | {"mask_image": SAMPLE_IMAGE}, "invalid_request", "mask_image"),
        ("inpaint", REQUEST_BODY | PICTURES | {"mask_invert": True}, "invalid_request", "mask_image"),
        ("inpaint", REQUEST_BODY | PICTURES | {"mask_fill": "red"}, "invalid_request", "mask_fill"),
        ("inpaint", REQUEST_BODY | PICTURES | {"extend_left": 8}, "invalid_request", "extend_left"),
        ("outpaint", REQUEST_BODY | START, "invalid_request", "extend_left"),
        (
            "outpaint",
            REQUEST_BODY | {"init_image": SAMPLE_IMAGE, "extend_ratio": "1:1"},
            "invalid_request",
            "extend_ratio",
        ),
        ("jobs", REQUEST_BODY | PICTURES | {"extend_left": 8}, "invalid_request", "extend_left"),
        ("jobs", REQUEST_BODY | {"strength": 0.5}, "invalid_request", "strength"),
    ],
)
async def test_what_is_wrong_is_named(studio: InProcessStudio, path: str, body: Any, code: str, field: str) -> None:
    answer = await studio.client_without_token.post(f"/v1/{path}", json=body)
    error = answer.json()["error"]
    assert (error["code"], error["field"]) == (code, field)
    assert error["message"].startswith(f"{field}: ")
    assert answer.status_code in (400, 404, 409) and len(answer.content) < 1000


@pytest.mark.parametrize(
    "content", [
        b"{", b"", b'{"prompt": "a", "guidance_scale": NaN}', b'{"prompt": "a", "guidance_scale": 1e400}', b"\xff\xfe",
        b'{"prompt": "\\ud800"}', b'{"prompt": "\\u0000"}', b"[" * 100_000, b'{"prompt": "' + b"x" * 10**5 + b'"}',
    ],
)  # fmt: skip
async def test_a_body_that_is_none_is_refused_in_few_words(studio: InProcessStudio, content: bytes) -> None:
    answer = await studio.client_without_token.post(
        "/v1/txt2img", content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400 and len(answer.content) < 500
    assert answer.json()["error"]["code"] == "invalid_request"


@pytest.mark.parametrize("query", ["format=gif", "quality=0", "quality=101", "quality=fine"])
async def test_a_format_that_there_is_not_is_refused(studio: InProcessStudio, query: str) -> None:
    answer = await studio.client_without_token.get(f"/v1/images/{'0' * 32}?{query}")
    assert answer.json()["error"]["field"] == query.partition("=")[0]


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("models/load", {"model": ""}, "invalid_request"),
        ("models/load", {"model": "nowhere"}, "unknown_model"),
        ("models/unload", {"model": "embedded", "delete": "yes please"}, "invalid_request"),
        ("models/unload", {"model": "embedded", "delete": True}, "invalid_request"),
        ("loras/load", {"lora": "nowhere"}, "unknown_model"),
        ("loras/load", {"model": "neon"}, "invalid_request"),
    ],
)
async def test_what_cannot_be_loaded_or_unloaded_is_refused(
    studio: InProcessStudio, path: str, body: Any, code: str
) -> None:
    assert (await studio.client_without_token.post(f"/v1/{path}", json=body)).json()["error"]["code"] == code
