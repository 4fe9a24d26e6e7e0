"""What OpenAI's fields mean to the studio, and which of them are refused."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from starlette.datastructures import UploadFile

from imagegen.api.openai.forms import Form, asked_in, fields, prompt_inside, schema, the_image
from imagegen.api.openai.requests import EditAsked, GenerationAsked, VariationAsked, in_openais_names, meant
from imagegen.errors import InvalidRequest
from imagegen.images import png_info
from imagegen.schema import GenerationRequest, LoraUse
from tests.doubles import receipt

PICTURE = "0" * 64


def generation(**said: Any) -> GenerationAsked:
    return asked_in(Form({"prompt": "a red circle"} | said, b""), GenerationAsked)


def edit(*said: tuple[str, str]) -> EditAsked:
    return asked_in(Form(fields([("prompt", "a red circle"), *said]), b""), EditAsked)


def png(**changes: object) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, format="PNG", pnginfo=png_info(receipt(**changes)))
    return buffer.getvalue()


def test_openais_fields_have_their_meaning() -> None:
    request = meant(generation(model="embedded", n=3, size="256x128", quality="standard", background="opaque"))
    assert request == GenerationRequest(prompt="a red circle", model="embedded", batch_size=3, width=256, height=128)


def test_our_own_fields_mean_what_they_mean_in_rest() -> None:
    ours: dict[str, Any] = {
        "seed": 7, "steps": 12, "guidance_scale": 3.5, "sampler": "Euler", "negative_prompt": "blue", "clip_skip": 1,
        "embeddings": ["grain"], "step_cache": 0.2,
    }  # fmt: skip
    request = meant(generation(loras=[{"lora": "neon", "weight": 0.5}], **ours))
    assert request == GenerationRequest(prompt="a red circle", loras=(LoraUse(lora="neon", weight=0.5),), **ours)


def test_null_and_auto_leave_open_what_was_not_said() -> None:
    left_open = dict.fromkeys(GenerationAsked.model_fields) | {"prompt": "a red circle", "size": "auto"}
    assert meant(generation(**left_open)) == GenerationRequest(prompt="a red circle")


def test_steps_have_another_name() -> None:
    assert meant(generation(num_inference_steps=9)).steps == 9


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"prompt": None}, "prompt: is required"),
        ({"prompt": ""}, "prompt: must not be empty"),
        ({"n": 0}, "n: must be between 1 and 8"),
        ({"n": "2"}, "n: must be a number"),
        ({"size": "large"}, "size: must be auto, or width and height, such as 512x512"),
        ({"size": "128x٦٤"}, "size: must be auto"),
        ({"size": "8x128"}, "size: must be between 64 and 2048"),
        ({"size": "128x130"}, "size: must be a multiple of 8, such as 128"),
        ({"response_format": "file"}, "response_format: must be one of 'b64_json' or 'url'"),
        ({"output_format": "gif"}, "output_format: must be one of 'png', 'jpeg' or 'webp'"),
        ({"output_format": "webp", "output_compression": 101}, "output_compression: must be between 0 and 100"),
        ({"output_compression": 50}, "output_compression: must be 100 for png"),
        ({"stream": True, "partial_images": 4}, "partial_images: must be between 0 and 3"),
        ({"partial_images": 1}, "partial_images: can only be sent in a stream"),
        ({"stream": "yes"}, "stream: should be a valid boolean"),
        ({"stream": True, "response_format": "url"}, "response_format: must be b64_json in a stream"),
        ({"quality": "hd"}, "quality: must be auto: say steps instead"),
        ({"quality": ["auto"]}, "quality: must be auto: say steps instead"),
        ({"background": "transparent"}, "background: must be auto or opaque"),
        ({"style": "vivid"}, "style: cannot be used; say it in the prompt"),
        ({"moderation": "high"}, "moderation: must be one of 'auto' or 'low'"),
        ({"steps": 0}, "steps: must be between 1 and 150"),
        ({"num_inference_steps": 0}, "num_inference_steps: must be between 1 and 150"),
        ({"steps": 5, "num_inference_steps": 5}, "num_inference_steps: is another name for steps; send one of them"),
        ({"loras": ["neon"]}, r"loras\[0\]: must be an object"),
        ({"strength": 0.5}, "strength: is not a field of a request"),
        ({"width": 128}, "width: is not a field of a request"),
        ({"mask": "x"}, "mask: is not a field of a request"),
        ({"frame_count": 3}, "frame_count: is not a field of a request"),
    ],
)
def test_what_cannot_be_is_refused_by_openais_name(said: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{message}") as refused:
        meant(generation(**said))
    assert refused.value.field == message.split(":", maxsplit=1)[0].replace("\\", "")


def test_what_the_studio_says_later_is_told_in_openais_names_too() -> None:
    with pytest.raises(InvalidRequest, match="^size: must be at most 512"), in_openais_names(generation()):
        raise InvalidRequest("height", "must be at most 512")


def test_files_are_as_good_as_can_be_unless_said_otherwise() -> None:
    assert (generation().file_format, generation().file_quality) == ("png", 100)
    small = generation(output_format="webp", output_compression=0)
    assert (small.file_format, small.file_quality) == ("webp", 0)


def test_the_text_of_a_form_becomes_values() -> None:
    said = {
        "n": "2", "seed": "7", "strength": "0.5", "num_inference_steps": "9", "size": "128x128", "stream": "True",
        "partial_images": "1", "user": "1234", "negative_prompt": "1", "input_fidelity": "low",
    }  # fmt: skip
    asked = edit(*said.items())
    assert (asked.stream, asked.partial_images, asked.user) == (True, 1, "1234")
    assert meant(asked, PICTURE) == GenerationRequest(
        prompt="a red circle", negative_prompt="1", batch_size=2, seed=7, strength=0.5, steps=9, width=128, height=128,
        init_image=PICTURE,
    )  # fmt: skip


@pytest.mark.parametrize(
    "sent",
    [
        [("loras", '[{"lora": "1", "weight": 0.5}, {"lora": "b", "weight": 1}]'), ("embeddings", '["c", "d"]')],
        [("loras", '{"lora": "1", "weight": 0.5}'), ("loras", '{"lora": "b"}'), ("embeddings", "c"),
         ("embeddings", "d")],
        [("loras[][lora]", "1"), ("loras[][lora]", "b"), ("loras[][weight]", "0.5"), ("loras[][weight]", "1"),
         ("embeddings[]", "c"), ("embeddings[]", "d")],
    ],
    ids=["as JSON", "again and again", "as OpenAI's clients send them"],
)  # fmt: skip
def test_lists_come_in_a_form_in_several_ways(sent: list[tuple[str, str]]) -> None:
    request = meant(edit(*sent), PICTURE)
    assert request.loras == (LoraUse(lora="1", weight=0.5), LoraUse(lora="b", weight=1))
    assert request.embeddings == ("c", "d")


@pytest.mark.parametrize("text", ["", "[]"])
def test_a_list_in_a_form_may_be_empty(text: str) -> None:
    assert meant(edit(("loras", text), ("embeddings", text)), PICTURE).loras == ()


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ([("steps", "many")], "steps: must be a number"),
        ([("steps", "9"), ("steps", "10")], "steps: is there more than once"),
        ([("seed", "9" * 5000)], "seed: must be a number"),
        ([("strength", "NaN")], "strength: should be a finite number"),
        ([("stream", "maybe")], "stream: should be a valid boolean"),
        ([("mask", "x")], "mask: cannot be used; leave it out to change the whole picture"),
        ([("input_fidelity", "high")], "input_fidelity: must be low: say strength instead"),
        ([("loras", "[" * 100_000)], r"loras\[0\]: must be an object"),
        (
            [("loras[][lora]", "a"), ("loras[][lora]", "b"), ("loras[][weight]", "1")],
            "loras: must have the same members",
        ),
        ([("colour", "red")], "colour: is not a field of a request"),
        ([("colour[][name]", "red")], "colour: is not a field of a request"),
    ],
)
def test_what_cannot_be_in_a_form_is_refused_by_name(sent: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{message}"):
        meant(edit(*sent), PICTURE)


@pytest.mark.parametrize(
    ("name", "message"), [("mask", "mask: cannot be used; leave it out"), ("prompt", "prompt: must not be a file")]
)
def test_only_the_picture_is_a_file(name: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{message}"):
        fields([(name, UploadFile(BytesIO(b"x")))])


async def test_there_is_one_picture() -> None:
    assert await the_image([UploadFile(BytesIO(b"picture"))]) == b"picture"


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ([], "image: is required"),
        (["x"], "image: must be a file"),
        ([UploadFile(BytesIO()), UploadFile(BytesIO())], "image: must be one picture"),
    ],
)
async def test_it_is_refused_when_there_is_none_or_several(sent: list[UploadFile | str], message: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{message}"):
        await the_image(sent)


def test_a_variation_needs_no_prompt() -> None:
    assert asked_in(Form({}, b""), VariationAsked).prompt is None


def test_a_picture_from_here_tells_what_it_was_made_from() -> None:
    assert prompt_inside(png(prompt="a lake\nat sunset")) == "a lake\nat sunset"


def png_with(**texts: str) -> bytes:
    info, buffer = PngInfo(), BytesIO()
    for name, text in texts.items():
        info.add_itxt(name, text)
    Image.new("RGB", (8, 8)).save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nothing",
        png()[:60],
        png_with(),
        png_with(receipt="not JSON"),
        png_with(receipt="[" * 100_000),
        png_with(receipt='["prompt"]'),
        png_with(receipt='{"prompt": 7}'),
        png()[:16] + b"\0\0\x4e\x20\0\0\x4e\x20" + png()[24:],
    ],
    ids=["empty", "no picture", "broken", "bare", "other receipt", "deep", "list", "number", "enormous"],
)
def test_any_other_picture_tells_nothing(content: bytes) -> None:
    assert prompt_inside(content) is None


def test_the_documentation_of_a_form_names_all_that_it_takes() -> None:
    described = schema(EditAsked, {"seed": 7})
    assert described["required"] == ["image", "prompt"]
    assert described["properties"]["seed"]["maximum"] == 2**32 - 1
    assert described["properties"]["seed"]["examples"] == [7]
    assert described["properties"]["loras"]["items"]["properties"]["weight"]["minimum"] == -4
    assert {"mask", "style"}.isdisjoint(described["properties"])
