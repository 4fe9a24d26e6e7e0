"""Every wrong value gives an error of one line, with its field and what is allowed."""

from pathlib import Path
from typing import Any

import pytest

from imagegen.errors import InvalidRequest
from imagegen.schema.request import GenerationRequest
from imagegen.schema.validation import fill_in_defaults, parse_request
from tests.doubles import make_library

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "prompt: is required"),
        ({"prompt": "x" * 1_000_000}, "prompt: must have at most 4000 characters"),
        ({"prompt": 5}, "prompt: should be a valid string"),
        ({"prompt": "a\x00b"}, "prompt: must not contain the character U+0000"),
        ({"prompt": "a\ud800b"}, "prompt: is not valid"),
        ({"negative_prompt": "x" * 4001}, "negative_prompt: must have at most 4000 characters"),
        ({"width": 8}, "width: must be between 64 and 2048"),
        ({"width": 4096}, "width: must be between 64 and 2048"),
        ({"height": 130}, "height: must be a multiple of 8, such as 128"),
        ({"height": "128"}, "height: must be a number"),
        ({"height": 128.5}, "height: should be a valid integer, got a number with a fractional part"),
        ({"steps": 0}, "steps: must be between 1 and 150"),
        ({"steps": 10**30}, "steps: must be between 1 and 150"),
        ({"steps": True}, "steps: must be a number"),
        ({"steps": NAN}, "steps: should be a finite number"),
        ({"guidance_scale": NAN}, "guidance_scale: should be a finite number"),
        ({"guidance_scale": INFINITY}, "guidance_scale: should be a finite number"),
        ({"guidance_scale": 0.5}, "guidance_scale: must be between 1 and 30"),
        ({"sampler": "Magic"}, "sampler: must be one of 'Euler', 'Euler a', 'DDIM'"),
        ({"seed": -1}, "seed: must be between 0 and 4294967295"),
        ({"seed": 2**64}, "seed: must be between 0 and 4294967295"),
        ({"variation_seed": -1}, "variation_seed: must be between 0 and 4294967295"),
        ({"variation_seed": "5"}, "variation_seed: must be a number"),
        ({"variation_strength": 1.5}, "variation_strength: must be between 0"),
        ({"variation_strength": -0.1}, "variation_strength: must be between 0"),
        ({"variation_strength": True}, "variation_strength: must be a number"),
        ({"batch_size": 100}, "batch_size: must be between 1 and 8"),
        ({"clip_skip": 9}, "clip_skip: must be between 0 and 2"),
        ({"init_image": "../../etc/passwd"}, "init_image: is not valid"),
        ({"strength": 0.5}, "strength: needs an init_image"),
        ({"init_image": "0" * 64, "strength": 0}, "strength: must be greater than 0 and at most 1"),
        ({"init_image": "0" * 64, "strength": 1.5}, "strength: must be greater than 0 and at most 1"),
        ({"more_prompts": "a cat"}, "more_prompts: must be a list"),
        ({"more_prompts": ["a\x00b"]}, "more_prompts[0]: must not contain the character U+0000"),
        ({"more_prompts": ["x" * 4001]}, "more_prompts[0]: must have at most 4000 characters"),
        ({"more_prompts": ["a cat"] * 8}, "more_prompts: must have at most 7 entries"),
        (
            {"more_prompts": ["a cat"] * 3, "batch_size": 3},
            "more_prompts: must have at most 1 entries with a batch_size of 3: a request gives up to 8 pictures",
        ),
        ({"more_prompts": ["a cat"], "batch_size": 5}, "more_prompts: cannot be used with a batch_size of 5"),
        ({"more_prompts": ["a cat"], "batch_size": 9}, "batch_size: must be between 1 and 8"),
        ({"colour": "red"}, "colour: is not a field of a request"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(values: dict[str, Any], message: str) -> None:
    prompt = {"prompt": "a red circle"} if values else {}
    with pytest.raises(InvalidRequest) as refused:
        parse_request({**prompt, **values})
    text = str(refused.value)
    assert text.startswith(message)
    assert "\n" not in text and len(text) < 200


def test_what_is_none_is_left_open() -> None:
    request = parse_request({"prompt": "x", "steps": None, "seed": None})
    assert request == GenerationRequest(prompt="x")


def test_each_of_several_prompts_gives_its_share_of_the_pictures() -> None:
    request = parse_request({"prompt": "a", "more_prompts": ["b", "c", "d"], "batch_size": 2})
    assert request.prompts == ("a", "a", "b", "b", "c", "c", "d", "d")


def test_whole_numbers_may_come_as_floats() -> None:
    assert parse_request({"prompt": "x", "steps": 20.0}).steps == 20


def test_given_values_are_kept_and_missing_ones_come_from_the_model(tmp_path: Path) -> None:
    model = make_library(tmp_path).models.get("embedded").info
    request = fill_in_defaults(parse_request({"prompt": "x", "steps": 5, "init_image": "0" * 64}), model, seed=3)
    assert (request.steps, request.seed, request.width, request.strength) == (5, 3, model.width, model.strength)
