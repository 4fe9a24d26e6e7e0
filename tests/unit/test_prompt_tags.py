"""LoRAs in the prompt of a request, in every API."""

from __future__ import annotations

import pytest

from imagegen.errors import InvalidRequest
from imagegen.schema.prompt_tags import extract_loras
from imagegen.schema.request import LoraUse
from imagegen.schema.validation import parse_request


@pytest.mark.parametrize(
    ("prompt", "words", "loras"),
    [
        ("a cat", "a cat", []),
        ("a cat <lora:neon>", "a cat", [{"lora": "neon", "weight": 1.0}]),
        ("<lora:neon:0.5>a cat", "a cat", [{"lora": "neon", "weight": 0.5}]),
        ("a <lora:o/r/f.safetensors:-1><LoRA:b:.5>cat", "a cat", [
            {"lora": "o/r/f.safetensors", "weight": -1.0}, {"lora": "b", "weight": 0.5},
        ]),
        ("a < b: c > d", "a < b: c > d", []),
    ],
)  # fmt: skip
def test_loras_are_taken_out_of_the_prompt(prompt: str, words: str, loras: list[dict[str, object]]) -> None:
    assert extract_loras(prompt) == (words, loras)


def test_loras_of_the_prompt_come_after_those_of_the_list() -> None:
    request = parse_request({"prompt": "a cat <lora:neon:0.5>", "loras": [{"lora": "fast"}]})
    assert request.prompt == "a cat"
    assert request.loras == (LoraUse(lora="fast"), LoraUse(lora="neon", weight=0.5))


def test_a_prompt_may_be_loras_alone() -> None:
    request = parse_request({"prompt": "<lora:neon:0.5>"})
    assert (request.prompt, request.loras) == ("", (LoraUse(lora="neon", weight=0.5),))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": "<hypernet:x:1>"}, "prompt: must not contain <hypernet:…>: only <lora:name:weight> is supported"),
        ({"prompt": "<lora:x:1:2>"}, "prompt: 'x' may have one weight, as in <lora:name:weight>"),
        ({"prompt": "<lora:x:much>"}, "prompt: weight in <lora:name:weight> must be a number"),
        ({"prompt": "<lora:x:9>"}, "loras[0].weight: must be between -4 and 4"),
        ({"prompt": "<lora:x>" * 9}, "loras: must have at most 8 entries"),
        ({"prompt": "<lora:x>", "loras": 5}, "loras: must be a list"),
        (
            {"prompt": "a", "negative_prompt": "b <lora:x:1>"},
            "negative_prompt: must not contain <lora:x:1>: LoRAs are named in prompt",
        ),
        (
            {"prompt": "a", "more_prompts": ["b", "<lyco:x>"]},
            "more_prompts: must not contain <lyco:x>: LoRAs are named in prompt",
        ),
        (
            {"prompt": "a", "detail_detector": "faces", "detail_prompt": "<lora:x>"},
            "detail_prompt: must not contain <lora:x>: LoRAs are named in prompt",
        ),
    ],
)
def test_other_tags_are_refused_by_name(fields: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_request(fields)
    assert str(refused.value) == message
