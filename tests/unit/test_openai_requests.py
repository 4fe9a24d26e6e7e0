"""How OpenAI's fields map to requests, and which are refused."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from starlette.datastructures import UploadFile

from imagegen.api.openai.forms import (
    ImageForm,
    build_form_schema,
    parse_form_fields,
    read_single_image,
    validate_form,
)
from imagegen.api.openai.requests import (
    EditAsked,
    GenerationAsked,
    VariationAsked,
    convert_openai_request,
    report_openai_field_names,
)
from imagegen.errors import InvalidRequest
from imagegen.schema.request import GenerationRequest, LoraUse

PICTURE = "0" * 64
PICTURES = {"init_image": PICTURE}


def make_generation_request(**changes: Any) -> GenerationAsked:
    return validate_form(ImageForm({"prompt": "a red circle"} | changes, {}), GenerationAsked)


def make_edit_request(*changes: tuple[str, str]) -> EditAsked:
    fields = parse_form_fields([("prompt", "a red circle"), *changes], EditAsked)
    return validate_form(ImageForm(fields, {}), EditAsked)


def test_openais_fields_have_their_meaning() -> None:
    request = convert_openai_request(
        make_generation_request(model="embedded", n=3, size="256x128", quality="standard", background="opaque")
    )
    assert request == GenerationRequest(prompt="a red circle", model="embedded", batch_size=3, width=256, height=128)


def test_our_own_fields_mean_what_they_mean_in_rest() -> None:
    ours: dict[str, Any] = {
        "seed": 7, "steps": 12, "guidance_scale": 3.5, "sampler": "Euler", "negative_prompt": "blue", "clip_skip": 1,
        "embeddings": ["grain"], "step_cache": 0.2,
    }  # fmt: skip
    request = convert_openai_request(make_generation_request(loras=[{"lora": "neon", "weight": 0.5}], **ours))
    assert request == GenerationRequest(prompt="a red circle", loras=(LoraUse(lora="neon", weight=0.5),), **ours)


def test_null_and_auto_count_as_omitted_fields() -> None:
    left_open = dict.fromkeys(GenerationAsked.model_fields) | {"prompt": "a red circle", "size": "auto"}
    assert convert_openai_request(make_generation_request(**left_open)) == GenerationRequest(prompt="a red circle")


def test_steps_have_another_name() -> None:
    assert convert_openai_request(make_generation_request(num_inference_steps=9)).steps == 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": None}, "prompt: is required"),
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
        ({"quality": "best"}, "quality: must be one of 'auto', 'low', 'medium', 'high'"),
        ({"quality": ["auto"]}, "quality: must be one of 'auto', 'low'"),
        ({"background": "transparent"}, "background: must be auto or opaque"),
        ({"style": "calm"}, "style: must be one of 'vivid' or 'natural'"),
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
def test_what_cannot_be_is_refused_by_openais_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{message}") as refused:
        convert_openai_request(make_generation_request(**changes))
    assert refused.value.field == message.split(":", maxsplit=1)[0].replace("\\", "")


def test_later_errors_use_openai_field_names_too() -> None:
    with (
        pytest.raises(InvalidRequest, match="^size: must be at most 512"),
        report_openai_field_names(make_generation_request()),
    ):
        raise InvalidRequest("height", "must be at most 512")


def test_files_have_the_best_quality_unless_requested_otherwise() -> None:
    assert (make_generation_request().file_format, make_generation_request().file_quality) == ("png", 100)
    small = make_generation_request(output_format="webp", output_compression=0)
    assert (small.file_format, small.file_quality) == ("webp", 0)


def test_the_text_of_a_form_becomes_values() -> None:
    form_fields = {
        "n": "2", "seed": "7", "strength": "0.5", "num_inference_steps": "9", "size": "128x128", "stream": "True",
        "partial_images": "1", "user": "1234", "negative_prompt": "1", "input_fidelity": "low",
    }  # fmt: skip
    request = make_edit_request(*form_fields.items())
    assert (request.stream, request.partial_images, request.user) == (True, 1, "1234")
    assert convert_openai_request(request, PICTURES) == GenerationRequest(
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
    request = convert_openai_request(make_edit_request(*sent), PICTURES)
    assert request.loras == (LoraUse(lora="1", weight=0.5), LoraUse(lora="b", weight=1))
    assert request.embeddings == ("c", "d")


@pytest.mark.parametrize("text", ["", "[]"])
def test_a_list_in_a_form_may_be_empty(text: str) -> None:
    assert convert_openai_request(make_edit_request(("loras", text), ("embeddings", text)), PICTURES).loras == ()


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ([("steps", "many")], "steps: must be a number"),
        ([("steps", "9"), ("steps", "10")], "steps: is there more than once"),
        ([("seed", "9" * 5000)], "seed: must be a number"),
        ([("strength", "NaN")], "strength: should be a finite number"),
        ([("stream", "maybe")], "stream: should be a valid boolean"),
        ([("mask_blur", "2")], "mask_blur: needs a mask_image"),
        ([("input_fidelity", "none")], "input_fidelity: must be one of 'low' or 'high'"),
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
        convert_openai_request(make_edit_request(*sent), PICTURES)


def test_only_pictures_are_files() -> None:
    with pytest.raises(InvalidRequest, match="^prompt: must not be a file"):
        parse_form_fields([("prompt", UploadFile(BytesIO(b"x")))], EditAsked)


async def test_there_is_one_picture() -> None:
    assert await read_single_image("image", [UploadFile(BytesIO(b"picture"))]) == b"picture"


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
        await read_single_image("image", sent)


def test_a_variation_needs_no_prompt() -> None:
    assert validate_form(ImageForm({}, {}), VariationAsked).prompt is None


def test_the_documentation_of_a_form_names_all_that_it_takes() -> None:
    described = build_form_schema(EditAsked, {"seed": 7})
    assert described["required"] == ["image", "prompt"]
    assert described["properties"]["seed"]["maximum"] == 2**32 - 1
    assert described["properties"]["seed"]["examples"] == [7]
    assert described["properties"]["loras"]["items"]["properties"]["weight"]["minimum"] == -4
    assert "mask" in described["properties"]
    assert "mask" not in build_form_schema(VariationAsked, {})["properties"]
