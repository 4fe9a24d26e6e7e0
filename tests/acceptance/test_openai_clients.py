"""Programs that use OpenAI's image API, unchanged: OpenAI's and Vercel's packages for JavaScript, litellm, LangChain.

LibreChat and Open WebUI are applications. Their requests are recorded, as they sent them to a studio.
"""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.acceptance.conftest import SIDE, Studio
from tests.acceptance.programs import run_node, run_python
from tests.clients.versions import read_version

BEARER = {"Authorization": "Bearer sk-any"}
PROMPT = "a red circle"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.new("RGB", (200, 150), (40, 160, 60)).save(path)
    return path


def open_image(content: str) -> Image.Image:
    image = Image.open(BytesIO(base64.b64decode(content)))
    image.load()
    return image


def read_receipt(image: Image.Image) -> dict[str, Any]:
    receipt: dict[str, Any] = json.loads(image.info["receipt"])
    return receipt


def generate(studio: Studio, body: dict[str, Any], query: str = "") -> dict[str, Any]:
    answer = httpx.post(f"{studio.url}/v1/images/generations{query}", json=body, headers=BEARER, timeout=60)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def edit(studio: Studio, fields: dict[str, str], *names: str, query: str = "") -> httpx.Response:
    buffer = BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, format="PNG")
    return httpx.post(
        f"{studio.url}/v1/images/edits{query}",
        data=fields,
        files=[(name, ("image.png", buffer.getvalue(), "image/png")) for name in names],
        headers=BEARER,
        timeout=60,
    )


def test_openais_client_for_javascript(studio: Studio, file: Path) -> None:
    output = run_node("openai.mjs", studio.url, str(file))
    assert output["linked"]["model"] == "embedded" and output["file_type"] == "image/png"
    assert output["linked"]["requested"] == {"model": "dall-e-3", "size": None}
    assert output["edited"]["requested"] == {"model": "gpt-image-1", "size": None}
    receipt = read_receipt(open_image(output["edited"]["picture"]))
    assert (receipt["steps"], receipt["requested"]) == (10, {"model": "gpt-image-1", "size": None})
    assert output["events"] == [["image_generation.completed", "low"]]
    assert output["model"] == "embedded"
    assert output["refused"] == [400, "invalid_request", "background"]


def test_vercels_ai_sdk(studio: Studio, file: Path) -> None:
    output = run_node("ai_sdk.mjs", studio.url, str(file))
    wide, tall, small, edited = output["made"]
    assert (wide["size"], wide["quality"]) == ("504x336", "low")
    assert open_image(tall["pictures"][0]).size == (288, 504)
    assert [open_image(picture).size for picture in small["pictures"]] == [(128, 128)] * 2
    assert read_receipt(open_image(edited["pictures"][0]))["init_image"] is not None
    assert output["refused"].startswith("size: must be between 64 and 2048")


def test_a_receipt_says_what_was_requested(studio: Studio) -> None:
    answer = generate(studio, {"model": "gpt-image-1", "prompt": PROMPT, "size": "1792x1024", "steps": 1})
    requested = {"model": "gpt-image-1", "size": "1792x1024"}
    assert (answer["model"], answer["size"], answer["requested"]) == ("embedded", "504x288", requested)
    image = open_image(answer["data"][0]["b64_json"])
    assert read_receipt(image) == answer["receipts"][0]
    assert (read_receipt(image)["requested"], image.size) == (requested, (504, 288))


def open_link(url: str) -> Image.Image:
    answer = httpx.get(url)
    assert answer.headers["content-type"] == "image/png"
    return Image.open(BytesIO(answer.content))


def test_langchain(studio: Studio) -> None:
    """It returns links, which open without a key."""
    output = run_python("use_langchain.py", studio.url)
    assert output["version"] == read_version("langchain-community", "PyPI")
    several, single = output["links"]
    assert [open_link(url).size for url in several.split("\n")] == [(256, 256), (256, 256)]
    assert open_link(single).size == (512, 512)


def test_litellm(studio: Studio, file: Path) -> None:
    output = run_python("use_litellm.py", studio.url, str(file))
    assert output["version"] == read_version("litellm", "PyPI")
    own, alias, edited = map(open_image, output["made"])
    assert (own.size, read_receipt(own)["seed"], read_receipt(own)["steps"]) == ((128, 128), 7, 2)
    assert (alias.size, read_receipt(alias)["requested"]["size"]) == ((336, 504), "1024x1536")
    assert edited.size == (512, 512) and read_receipt(edited)["init_image"] is not None
    assert [open_link(url).size for url in output["links"]] == [(512, 512), (512, 512)]
    assert "size: must be between 64 and 2048" in output["refused"]


def test_librechats_image_tools(studio: Studio) -> None:
    """They send every field that OpenAI's API has, most of them with the value "auto"."""
    body = {
        "model": "gpt-image-1", "prompt": PROMPT, "n": 1, "background": "auto", "output_format": "png",
        "quality": "auto", "size": "auto",
    }  # fmt: skip
    made = generate(studio, body)["data"][0]
    assert open_image(made["b64_json"]).size == (SIDE, SIDE)
    edited = edit(studio, {"model": "gpt-image-1", "prompt": PROMPT, "quality": "low", "size": "auto"}, "image[]")
    assert open_image(edited.json()["data"][0]["b64_json"]).format == "PNG"
    refused = edit(studio, {"model": "gpt-image-1", "prompt": PROMPT}, "image[]", "image[]")
    assert refused.json()["error"]["message"] == "image: must be one picture with the model embedded"


def test_librechats_dall_e_tool(studio: Studio) -> None:
    """It fetches the link without a key, and names its own file by the ending of the link's path."""
    body = {
        "model": "dall-e-3", "quality": "standard", "style": "vivid", "size": "1792x1024", "prompt": PROMPT, "n": 1,
    }  # fmt: skip
    url = httpx.URL(generate(studio, body)["data"][0]["url"])
    assert url.path.endswith(".png")
    assert Image.open(BytesIO(httpx.get(url).content)).size == (504, 288)


def test_librechats_stable_diffusion_tool_is_told_which_field_is_wrong(studio: Studio) -> None:
    """It requests 1024x1024 from every model."""
    body = {
        "prompt": PROMPT, "negative_prompt": "a square", "cfg_scale": 4.5, "steps": 22, "width": 1024, "height": 1024,
    }  # fmt: skip
    refused = httpx.post(f"{studio.url}/sdapi/v1/txt2img", json=body)
    assert refused.json()["errors"].startswith("width: must be at most 512")


@pytest.mark.parametrize("model", ["gpt-image-1", "gpt-image-1.5"])
def test_open_webui_asks_these_models_for_no_format(studio: Studio, model: str) -> None:
    body = {"model": model, "prompt": PROMPT, "n": 1, "size": "1024x1024", "steps": 2}
    answer = generate(studio, body, "?api-version=2025-04-01-preview")
    assert open_image(answer["data"][0]["b64_json"]).size == (512, 512)


def test_open_webui_fetches_links_with_its_key(studio: Studio) -> None:
    """Without a model in its settings it asks for dall-e-2, in a format that its owner may choose."""
    body = {"model": "dall-e-2", "prompt": PROMPT, "n": 1, "size": "512x512", "response_format": "url", "steps": 2}
    file = httpx.get(generate(studio, body)["data"][0]["url"], headers=BEARER)
    assert file.headers["content-type"] == "image/png"


def test_open_webui_edits_a_picture_with_an_alias(studio: Studio) -> None:
    fields = {"model": "gpt-image-1", "prompt": PROMPT, "n": "1", "size": "512x512", "background": "opaque"}
    answer = edit(studio, {**fields, "steps": "2"}, "image", query="?api-version=2025-04-01-preview")
    assert open_image(answer.json()["data"][0]["b64_json"]).size == (512, 512)
