"""Choices in the prompts of a request are made before it is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagegen.errors import InvalidRequest
from imagegen.jobs.wildcards import choose_prompts
from imagegen.library.wildcards import WildcardFolder
from imagegen.schema.receipt import RequestedAs
from imagegen.schema.request import GenerationRequest, LoraUse
from imagegen.schema.validation import parse_request

WORDS = {"sharp": ("sharpen",)}
FILES = {
    "color": "red\ngreen\nblue\n",
    "one": "black\n",
    "tagged": "<lora:neon:0.5> glow\n",
    "tags": "<lora:neon>\n<lora:fast>\n",
    "long": "x" * 3000,
    "sharp": "sharpen\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> WildcardFolder:
    for name, content in FILES.items():
        (tmp_path / f"{name}.txt").write_text(content)
    return WildcardFolder(tmp_path)


def choose(folder: WildcardFolder, **fields: Any) -> tuple[GenerationRequest, RequestedAs | None]:
    return choose_prompts(parse_request({"seed": 5} | fields), folder, lambda: WORDS)


def test_a_request_without_choices_stays_as_it_is_and_reads_nothing(folder: WildcardFolder) -> None:
    def list_embedding_words() -> dict[str, tuple[str, ...]]:
        pytest.fail("the folder of embeddings was read")

    request = parse_request({"prompt": "a cat", "seed": 5, "batch_size": 2})
    requested = RequestedAs(model="dall-e-3")
    assert choose_prompts(request, folder, list_embedding_words, requested) == (request, requested)


def test_each_picture_has_a_prompt_of_its_own(folder: WildcardFolder) -> None:
    chosen, requested = choose(folder, prompt="__color__", batch_size=4)
    assert (len(chosen.prompts), chosen.batch_size) == (4, 1)
    alone = [choose(folder, prompt="__color__", seed=seed)[0].prompt for seed in range(5, 9)]
    assert list(chosen.prompts) == alone
    assert requested == RequestedAs(prompt="__color__")


def test_pictures_with_the_same_choices_stay_one_prompt(folder: WildcardFolder) -> None:
    chosen, _ = choose(folder, prompt="a __one__ cat", batch_size=4)
    assert (chosen.prompt, chosen.batch_size, chosen.more_prompts) == ("a black cat", 4, ())


def test_variations_of_a_picture_keep_its_choices(folder: WildcardFolder) -> None:
    chosen, _ = choose(folder, prompt="__color__", batch_size=8, variation_strength=0.2)
    assert len(set(chosen.prompts)) == 1


def test_the_largest_seed_is_followed_by_0(folder: WildcardFolder) -> None:
    chosen, _ = choose(folder, prompt="{a|b|c|d|e|f|g|h} {a|b|c|d|e|f|g|h}", batch_size=2, seed=2**32 - 1)
    assert chosen.prompts[1] == choose(folder, prompt="{a|b|c|d|e|f|g|h} {a|b|c|d|e|f|g|h}", seed=0)[0].prompt


def test_further_prompts_have_choices_too(folder: WildcardFolder) -> None:
    chosen, requested = choose(folder, prompt="a __color__", more_prompts=["b __color__", "c"], batch_size=2)
    assert [prompt[0] for prompt in chosen.prompts] == ["a", "a", "b", "b", "c", "c"]
    assert requested is not None
    written = [requested.for_picture(index, 6).prompt for index in range(6)]
    assert written == ["a __color__", "a __color__", "b __color__", "b __color__", "c", "c"]


def test_all_pictures_share_a_negative_prompt(folder: WildcardFolder) -> None:
    chosen, requested = choose(folder, prompt="a", negative_prompt="__color__", batch_size=2)
    assert chosen.negative_prompt in ("red", "green", "blue")
    assert (chosen.batch_size, requested) == (2, RequestedAs(negative_prompt="__color__"))


def test_a_chosen_lora_joins_the_others(folder: WildcardFolder) -> None:
    chosen, _ = choose(folder, prompt="a <lora:first> __tagged__", loras=[{"lora": "zero"}], batch_size=2)
    assert [(use.lora, use.weight) for use in chosen.loras] == [("zero", 1), ("first", 1), ("neon", 0.5)]
    assert chosen.prompt == "a   glow"


def test_of_loras_in_braces_one_is_chosen(folder: WildcardFolder) -> None:
    results = {choose(folder, prompt="{<lora:a>|<lora:b>} cat", seed=seed)[0].loras for seed in range(20)}
    assert results == {(LoraUse(lora="a"),), (LoraUse(lora="b"),)}


def test_an_embedding_is_loaded_if_its_word_is_chosen(folder: WildcardFolder) -> None:
    assert choose(folder, prompt="a __sharp__ cat")[0].embeddings == ("sharp",)
    results = {choose(folder, prompt="{sharpen|a} cat", embeddings=["sharp"], seed=seed)[0] for seed in range(20)}
    assert {(each.prompt, each.embeddings) for each in results} == {("sharpen cat", ("sharp",)), ("a cat", ())}


def test_the_name_that_was_asked_for_is_kept(folder: WildcardFolder) -> None:
    request = parse_request({"prompt": "__one__", "seed": 1})
    _, requested = choose_prompts(request, folder, lambda: WORDS, RequestedAs(model="dall-e-3"))
    assert requested == RequestedAs(model="dall-e-3", prompt="__one__")
    assert requested.model_dump() == {"model": "dall-e-3", "size": None, "prompt": "__one__"}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"prompt": "__none__"}, "prompt: there is no wildcard none"),
        ({"prompt": "a", "negative_prompt": "__none__"}, "negative_prompt: there is no wildcard none"),
        ({"prompt": "a", "more_prompts": ["__none__"]}, "more_prompts[0]: there is no wildcard none"),
        ({"prompt": "__long__ __long__"}, "prompt: must have at most 4000 characters with the lines of its wildcards"),
        ({"prompt": "a", "negative_prompt": "__tagged__"}, "negative_prompt: must not contain <lora:neon:0.5>"),
        ({"prompt": "a", "more_prompts": ["__tagged__"]}, "more_prompts[0]: must not contain <lora:neon:0.5>"),
        ({"prompt": "__tags__", "batch_size": 8}, "prompt: has choices with different LoRAs"),
        ({"prompt": "{<hypernet:x:1>|<hypernet:x:1>}"}, "prompt: must not contain <hypernet:…>"),
        ({"prompt": "{<lora:x:9>|<lora:x:9>}"}, "loras[0].weight: must be between -4 and 4"),
    ],
)  # fmt: skip
def test_what_was_chosen_must_be_valid(folder: WildcardFolder, fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        choose(folder, **fields)
    assert str(refusal.value).startswith(problem)
