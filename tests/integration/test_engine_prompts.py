"""Prompts: brackets, weights, and any length."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler
from PIL import Image
from safetensors.torch import load_file, save_file

from imagegen.engine.engine import EngineResult
from imagegen.engine.models.loading import load_pipeline
from imagegen.engine.prompts.clip import PromptEncoder, build_prompt_encoder
from imagegen.engine.prompts.weighting import Token, split_into_chunks
from imagegen.errors import InvalidRequest
from imagegen.schema.prompt_weights import parse_sections
from tests.hub.loras import diffusers_lora
from tests.integration.conftest import EMBEDDED
from tests.integration.engine_harness import EngineHarness


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return load_pipeline(EMBEDDED, torch.float32)


@pytest.fixture(scope="module")
def encoder(pipeline: Any) -> PromptEncoder:
    return build_prompt_encoder(pipeline)


def embeddings(encoder: PromptEncoder, *texts: str, clip_skip: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns embeddings of prompt and negative prompt."""
    positive, negative = encoder.encode(texts[0], texts[1], clip_skip)
    assert positive.pooled is None and negative.pooled is None
    return positive.states, negative.states


def encode_with_diffusers(pipeline: Any, prompt: str, negative_prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        positive, negative = pipeline.encode_prompt(prompt, torch.device("cpu"), 1, True, negative_prompt)
    return positive, negative


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", []),
        ("a red circle", [("a red circle", 1)]),
        ("a (red) circle", [("a ", 1), ("red", 1.1), (" circle", 1)]),
        ("a (red:1.3) circle", [("a ", 1), ("red", 1.3), (" circle", 1)]),
        ("a [red] circle", [("a ", 1), ("red", 1 / 1.1), (" circle", 1)]),
        ("((a (b:2)))", [("a ", 1.21), ("b", 2.42)]),
        ("(a [b] c:2)", [("a ", 2), ("b", 2 / 1.1), (" c", 2)]),
        ("(a:.5) (b: 2 )", [("a", 0.5), (" ", 1), ("b", 2)]),
        ("(a:0) (b:-1)", [("a", 0), (" ", 1), ("b", -1)]),
        (r"\(a\) \[b\] \\", [(r"(a) [b] " + "\\", 1)]),
        (r"(a \(b\):2)", [("a (b)", 2)]),
        ("12:30, 1:2", [("12:30, 1:2", 1)]),
        ("(at 12:30:1.5)", [("at 12:30", 1.5)]),
        ("(a:b)", [("a:b", 1.1)]),
        ("a (b", [("a ", 1), ("b", 1.1)]),
        ("a [b", [("a ", 1), ("b", 1 / 1.1)]),
        ("a) b] c:1.3)", [("a) b] c:1.3)", 1)]),
        ("()", []),
        ("a\\", [("a\\", 1)]),
        ("(a:99)", [("a", 10)]),
    ],
)
def test_brackets_weigh_words(prompt: str, expected: list[tuple[str, float]]) -> None:
    (section,) = parse_sections(prompt)
    assert [text for text, _ in section] == [text for text, _ in expected]
    assert [weight for _, weight in section] == pytest.approx([weight for _, weight in expected])


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("a BREAK b", [["a"], ["b"]]),
        ("aBREAK break BREAKb", [["aBREAK break BREAKb"]]),
        ("a,BREAK\nb", [["a,"], ["b"]]),
        ("BREAK a", [[], ["a"]]),
        ("a BREAK", [["a"]]),
        ("a BREAK BREAK b", [["a"], [], ["b"]]),
        ("BREAK", [[]]),
        ("(a BREAK b:1.3) c", [["a"], ["b", " c"]]),
    ],
)
def test_break_begins_a_new_section(prompt: str, texts: list[list[str]]) -> None:
    assert [[text for text, _ in section] for section in parse_sections(prompt)] == texts


@pytest.mark.parametrize(
    "prompt",
    [
        "(" * 4000,
        ")" * 4000,
        "(a" * 2000,
        "[" * 2000 + "]" * 2000,
        "([" * 1000 + "a" + ")]" * 1000,
        "\\" * 4001,
        "(a:" + "9" * 3000 + ")",
        "((((a:999):999):999):999)",
        "(((a:0):99999)",
        ":1.3)",
        "(:1.3)",
        "[]()",
        "\n\t (\n",
    ],
)
def test_no_brackets_can_break_it(encoder: PromptEncoder, prompt: str) -> None:
    positive, negative = embeddings(encoder, prompt, prompt[::-1])
    assert positive.shape == negative.shape
    assert positive.isfinite().all()


@pytest.mark.parametrize(
    "prompt", ["", "a red circle", 'C++ -- it\'s "quoted", 50% .and <3 é 画', "A  b\n\tc", "a " * 75]
)
def test_without_brackets_the_embeddings_are_the_pipelines_own(
    pipeline: Any, encoder: PromptEncoder, prompt: str
) -> None:
    expected = encode_with_diffusers(pipeline, prompt, "blurry, text")
    assert all(map(torch.equal, embeddings(encoder, prompt, "blurry, text"), expected))


def test_escaped_brackets_are_plain_characters(pipeline: Any, encoder: PromptEncoder) -> None:
    encoded = embeddings(encoder, r"a tree \(oak\), [\[:1\)]", "")[0]
    assert not torch.equal(encoded, encode_with_diffusers(pipeline, "a tree (oak), [:1)", "")[0])
    assert torch.equal(
        embeddings(encoder, r"a tree \(oak\), big", "")[0], encode_with_diffusers(pipeline, "a tree (oak), big", "")[0]
    )


def test_a_weight_of_1_changes_nothing(encoder: PromptEncoder) -> None:
    assert torch.equal(embeddings(encoder, "a (red:1) circle", "")[0], embeddings(encoder, "a red circle", "")[0])


def test_a_weight_moves_its_word_and_no_other(encoder: PromptEncoder) -> None:
    plain, heavy, none = (embeddings(encoder, f"(a:{weight}) b", "")[0][0] for weight in (1, 2, 0))
    empty = embeddings(encoder, "", "")[0][0]
    changed = (plain != heavy).any(dim=1).nonzero().flatten().tolist()
    assert changed == [1]
    assert torch.allclose(heavy[1] - empty[1], 2 * (plain[1] - empty[1]), atol=1e-5)
    assert torch.allclose(none[1], empty[1], atol=1e-6)


def test_the_shorter_prompt_is_repeated_to_the_length_of_the_longer(pipeline: Any, encoder: PromptEncoder) -> None:
    long, short = embeddings(encoder, "a " * 160, "blurry")
    assert long.shape == short.shape == (1, 3 * 77, long.shape[2])
    assert torch.equal(short, encode_with_diffusers(pipeline, "blurry", "")[0].repeat(1, 3, 1))


def test_every_word_of_a_long_prompt_has_an_effect(encoder: PromptEncoder) -> None:
    first, second = (embeddings(encoder, "a " * 100 + end, "")[0] for end in ("x", "y"))
    assert torch.equal(first[:, :77], second[:, :77])
    assert not torch.equal(first[:, 77:], second[:, 77:])


def test_a_chunk_rather_ends_after_a_comma() -> None:
    assert split_lengths(100, commas=(10, 65)) == [66, 34]
    assert split_lengths(100, commas=(54,)) == [75, 25]
    assert split_lengths(100, commas=(55,)) == [56, 44]
    assert split_lengths(100, commas=(65, 75)) == [75, 25], "the next token is a comma"
    assert split_lengths(160) == [75, 75, 10]
    assert split_lengths(0) == [0]


def split_lengths(count: int, commas: Collection[int] = ()) -> list[int]:
    """Returns the lengths of the chunks of a section of `count` tokens, with commas at these places."""
    groups = [[Token(9 if place in commas else 1, 1.0)] for place in range(count)]
    return [len(chunk) for chunk in split_into_chunks(groups, 75, comma=9)]


@pytest.mark.parametrize(
    ("before", "lengths"), [(66, [75, 1]), (67, [75, 2]), (68, [68, 10]), (70, [70, 10]), (75, [75, 10])]
)
def test_an_embedding_is_not_cut(encoder: PromptEncoder, before: int, lengths: list[int]) -> None:
    """It has eight vectors; two words follow it. One that does not fit begins the next chunk."""
    (clip,) = encoder.encoders
    vectors = torch.arange(8 * clip.width, dtype=torch.float32).reshape(8, clip.width)
    chunks = clip.tokenize("a " * before + "Word a a", {"word": vectors})
    assert [len(chunk) for chunk in chunks] == lengths
    holders = [[token.vector is not None for token in chunk] for chunk in chunks]
    assert sorted(sum(flags) for flags in holders) == [0, 8]


def test_no_chunk_ends_inside_an_embedding_as_after_a_comma(encoder: PromptEncoder) -> None:
    (clip,) = encoder.encoders
    chunks = clip.tokenize("a " * 60 + "word " + "a " * 20, {"word": torch.ones(8, clip.width)})
    assert [len(chunk) for chunk in chunks] == [75, 13]


def test_sections_are_encoded_on_their_own(encoder: PromptEncoder) -> None:
    together = embeddings(encoder, "a red circle BREAK a (blue:1.2) star", "")[0]
    alone = [embeddings(encoder, text, "")[0] for text in ("a red circle", "a (blue:1.2) star")]
    assert torch.equal(together, torch.cat(alone, dim=1))


@pytest.mark.parametrize("clip_skip", [1, 2])
def test_clip_skip_leaves_out_the_last_layers(pipeline: Any, encoder: PromptEncoder, clip_skip: int) -> None:
    text_encoder, tokenizer = pipeline.text_encoder, pipeline.tokenizer
    ids = tokenizer("a circle", padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        states = text_encoder(ids, output_hidden_states=True).hidden_states
        expected = text_encoder.final_layer_norm(states[len(states) - 1 - clip_skip])
    assert torch.equal(embeddings(encoder, "a circle", "a circle", clip_skip=clip_skip)[1], expected)


def paint_changing_prompts_with_diffusers(
    harness: EngineHarness, name: str, prompts: tuple[str, str], negatives: tuple[str, str], after: int
) -> Image.Image:
    """Returns the picture of diffusers, whose prompt embeddings are replaced after a number of steps."""
    pipeline: Any = load_pipeline(harness.model(name)[1], torch.float32)
    pipeline.scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
    is_pair = hasattr(pipeline, "text_encoder_2")
    encoder = build_prompt_encoder(pipeline)

    def replace(_: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if index + 1 != after:
            return {}
        rows = reversed(encoder.encode(prompts[1], negatives[1]))
        states, pooled = zip(*((each.states, each.pooled) for each in rows), strict=True)
        return {"prompt_embeds": torch.cat(states)} | ({"add_text_embeds": torch.cat(pooled)} if is_pair else {})

    pipeline.set_progress_bar_config(disable=True)
    output = pipeline(
        prompt=prompts[0],
        negative_prompt=negatives[0],
        width=64,
        height=64,
        num_inference_steps=4,
        guidance_scale=7.5,
        generator=torch.Generator().manual_seed(1),
        callback_on_step_end=replace,
    )
    image: Image.Image = output.images[0]
    return image


@pytest.mark.parametrize("name", ["tiny-sd15", "tiny-sdxl"])
def test_a_prompt_that_changes_is_as_in_diffusers(harness: EngineHarness, name: str) -> None:
    fields: dict[str, Any] = {"steps": 4, "sampler": "Euler", "guidance_scale": 7.5}
    ours = harness.generate_image(name, prompt="a [cat:dog:2]", negative_prompt="[fog::0.5]rain", **fields)
    expected = paint_changing_prompts_with_diffusers(harness, name, ("a cat", "a dog"), ("fograin", "rain"), after=2)
    assert measure_difference(ours, expected) <= 1
    unchanged = harness.generate_image(name, prompt="a cat", negative_prompt="fograin", **fields)
    assert measure_difference(ours, unchanged) > 1


def measure_difference(first: Image.Image, second: Image.Image) -> int:
    """Returns the largest difference of two pictures in levels."""
    return int(np.abs(np.asarray(first, np.int16) - np.asarray(second, np.int16)).max())


def test_a_change_outside_of_the_steps_is_none(harness: EngineHarness) -> None:
    plain = harness.generate_image("tiny-sd15", prompt="a dog").tobytes()
    for prompt in ("a [cat:dog:0]", "a [dog:cat:9]", "a [dog:cat:1.0]"):
        assert harness.generate_image("tiny-sd15", prompt=prompt).tobytes() == plain


def test_each_picture_of_a_batch_has_its_changes(harness: EngineHarness) -> None:
    """A batch has the pictures of jobs of their own."""
    fields: dict[str, Any] = {"sampler": "DDIM", "steps": 3}
    inputs = harness.make_inputs(
        "tiny-sd15", prompt="[cat|dog]", more_prompts=["a [sun:moon:1] now"], batch_size=2, **fields
    )
    *_, last = harness.run(inputs)
    assert isinstance(last, EngineResult)
    for number, prompt in ((1, "[cat|dog]"), (2, "a [sun:moon:1] now")):
        alone = harness.generate_image("tiny-sd15", prompt=prompt, seed=1 + number, **fields)
        assert measure_difference(last.images[number], alone) <= 1


def test_a_second_pass_goes_on_with_the_prompt(harness: EngineHarness) -> None:
    fields: dict[str, Any] = {"hires_scale": 2, "hires_strength": 0.5, "hires_upscaler": "Latent", "steps": 2}
    changing, first, both = (
        harness.generate_image("tiny-sd15", prompt=prompt, **fields)
        for prompt in ("[cat:dog:1.0]", "cat", "[cat:dog:2]")
    )
    assert changing.tobytes() == both.tobytes() != first.tobytes()


def test_a_prompt_that_is_too_many_texts_is_refused(harness: EngineHarness) -> None:
    prompt = "".join(f"[a:b:{step}]" for step in range(1, 34))
    with pytest.raises(InvalidRequest, match="prompt: is 34 different texts over its steps; at most 32 are possible"):
        harness.generate_image("tiny-sd15", prompt=prompt, steps=34)


@pytest.mark.parametrize("name", ["tiny-sd15", "tiny-sdxl", "tiny-sd3", "tiny-qwen-image", "tiny-z-image"])
def test_the_same_words_are_encoded_once(harness: EngineHarness, name: str) -> None:
    """Most of all, the empty negative prompt is cached."""
    first = harness.generate_image(name, prompt="a cat that is encoded once")
    pipeline = harness.engine.store.models[name].pipeline
    encoded: list[str] = []
    handles = [
        getattr(pipeline, part).register_forward_pre_hook(lambda *_, part=part: encoded.append(part), with_kwargs=True)
        for part in pipeline.components
        if part.startswith("text_encoder") and getattr(pipeline, part) is not None
    ]
    again = harness.generate_image(name, prompt="a cat that is encoded once")
    assert encoded == [] and again.tobytes() == first.tobytes()
    harness.generate_image(name, prompt="a dog that is encoded once")
    assert encoded
    if name in ("tiny-sd15", "tiny-sdxl"):  # Other pipelines encode both prompts in one call.
        assert len(encoded) == len(handles), "the negative prompt was encoded again"
    for handle in handles:
        handle.remove()


def test_cached_embeddings_are_not_reused_with_other_text_encoder_loras(harness: EngineHarness) -> None:
    """The LoRA changes only the text encoder."""
    file = harness.folder / "loras" / "of-encoders.safetensors"
    diffusers_lora(harness.model("tiny-sd15")[1].path, file, 3, text=True)
    save_file({name: factor for name, factor in load_file(file).items() if name.startswith("text_encoder")}, file)
    adapters = harness.loras.get_source(file.stem, 2.0)
    plain, with_lora, again = (
        harness.generate_image("tiny-sd15", loras, prompt="a cat in clothes") for loras in ([], [adapters], [])
    )
    assert with_lora.tobytes() != plain.tobytes()
    assert again.tobytes() == plain.tobytes()
