"""Hugging Face's clients of its Inference API, in Python and JavaScript, with the studio's address."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import AsyncInferenceClient, ImageToImageTargetSize, InferenceClient
from huggingface_hub.errors import BadRequestError, HfHubHTTPError
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from imagegen.access.keys import KeyStore
from tests.acceptance.conftest import SIDE, Studio, run_coroutine
from tests.acceptance.programs import run_node

PROMPT = "a red circle"


@pytest.fixture
def client(studio: Studio) -> InferenceClient:
    return InferenceClient(base_url=f"{studio.url}/hf", token="hf_any")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.new("RGB", (200, 150), (40, 160, 60)).save(path)
    return path


def read_receipt(image: Image.Image) -> dict[str, Any]:
    receipt: dict[str, Any] = json.loads(image.info["receipt"])
    return receipt


def test_text_becomes_a_picture(client: InferenceClient) -> None:
    image = client.text_to_image(
        PROMPT, negative_prompt="blue", width=96, height=128, num_inference_steps=3, guidance_scale=4,
        scheduler="EulerDiscreteScheduler", seed=7, extra_body={"loras": [{"lora": "neon", "weight": 0.5}]},
    )  # fmt: skip
    receipt = read_receipt(image)
    assert (image.format, image.size) == ("PNG", (96, 128))
    assert (receipt["prompt"], receipt["negative_prompt"], receipt["steps"]) == (PROMPT, "blue", 3)
    assert (receipt["guidance_scale"], receipt["sampler"], receipt["seed"]) == (4, "Euler", 7)
    assert receipt["loras"][0]["lora"] == "neon"


@pytest.mark.parametrize("path", ["hf", "hf/", "hf/models/embedded"])
def test_a_prompt_alone_gets_the_defaults_of_the_model(studio: Studio, path: str) -> None:
    assert InferenceClient(f"{studio.url}/{path}").text_to_image(PROMPT).size == (SIDE, SIDE)


def test_the_address_names_the_model(studio: Studio) -> None:
    fast = InferenceClient(model=f"{studio.url}/hf/models/embedded-fast")
    receipt = read_receipt(fast.text_to_image(PROMPT, seed=7))
    assert (receipt["steps"], receipt["sampler"]) == (4, "LCM")


def test_the_asynchronous_client(studio: Studio) -> None:
    async def paint() -> Image.Image:
        async with AsyncInferenceClient(base_url=f"{studio.url}/hf") as client:
            image: Image.Image = await client.text_to_image(PROMPT, num_inference_steps=1)
            return image

    assert run_coroutine(paint()).size == (SIDE, SIDE)


def test_a_picture_and_a_prompt_become_a_picture(client: InferenceClient, file: Path) -> None:
    size = ImageToImageTargetSize(width=128, height=96)
    image = client.image_to_image(file, "a lake", num_inference_steps=4, target_size=size, strength=0.5, seed=7)
    receipt = read_receipt(image)
    assert image.size == (128, 96)
    assert (receipt["prompt"], receipt["strength"], receipt["seed"]) == ("a lake", 0.5, 7)
    assert receipt["init_image"] is not None


@pytest.mark.parametrize("as_bytes", [True, False], ids=["bytes", "file"])
def test_a_picture_alone_is_the_whole_body(client: InferenceClient, file: Path, as_bytes: bool) -> None:
    receipt = read_receipt(client.image_to_image(file.read_bytes() if as_bytes else file))
    assert receipt["prompt"] == "a picture" and receipt["init_image"] is not None


def test_a_picture_of_the_studio_has_a_prompt(client: InferenceClient, tmp_path: Path) -> None:
    made = client.text_to_image("a blue circle on a red background", num_inference_steps=1)
    file = tmp_path / "made.png"
    file.write_bytes(save(made))
    receipt = read_receipt(client.image_to_image(file))
    assert receipt["prompt"] == "a blue circle on a red background"


def save(image: Image.Image) -> bytes:
    """Returns a PNG file with the picture's receipt."""
    info, buffer = PngInfo(), BytesIO()
    info.add_itxt("receipt", image.info["receipt"])
    image.save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps: must be between 1 and 150"),
        ({"width": 1024}, "width: must be at most 512"),
        ({"scheduler": "BestScheduler"}, "scheduler: must be one of"),
        ({"extra_body": {"colour": "red"}}, "colour: is not a field of a request"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(
    client: InferenceClient, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadRequestError, match=message):
        client.text_to_image(PROMPT, **parameters)


def test_an_unknown_model_is_reported_as_such(studio: Studio) -> None:
    with pytest.raises(HfHubHTTPError, match="model: there is no 'nobody/nothing' here"):
        InferenceClient(model=f"{studio.url}/hf/models/nobody/nothing").text_to_image(PROMPT)


def test_users_sign_in_with_a_token(keys_studio: Studio, keys: KeyStore) -> None:
    address = f"{keys_studio.url}/hf"
    with pytest.raises(HfHubHTTPError, match="401"):
        InferenceClient(base_url=address, token="hf_unknown").text_to_image(PROMPT)
    key = keys.add("ann")
    assert InferenceClient(base_url=address, token=key).text_to_image(PROMPT, num_inference_steps=1).format == "PNG"


def test_the_client_for_javascript(studio: Studio, file: Path) -> None:
    output = run_node("hugging_face.mjs", studio.url, str(file))
    images = [Image.open(BytesIO(base64.b64decode(content))) for content in output["pictures"]]
    painted, repainted, alone, fast = map(read_receipt, images)
    assert [image.size for image in images[:2]] == [(96, 128), (128, 96)]
    assert (painted["steps"], painted["seed"], repainted["prompt"]) == (2, 7, "a lake")
    assert alone["init_image"] == repainted["init_image"]
    assert fast["sampler"] == "LCM"
    assert "num_inference_steps: must be between 1 and 150" in output["refused"]
