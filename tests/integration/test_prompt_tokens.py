"""The count of a prompt's tokens, which needs no torch, is that of the tokenizers in the engine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen2Tokenizer

from imagegen.engine.models.loading import load_pipeline
from imagegen.engine.prompts.clip import build_prompt_encoder
from imagegen.errors import TokensUnknown
from imagegen.library.family_facts import FAMILIES
from imagegen.library.prompt_tokens import CLIP_TOKENIZER_FOLDER, TOKENIZER_NAMES, load_tokenizer, measure_prompt
from imagegen.schema.models import ModelSource
from tests.hub.tiny import TINY
from tests.integration.conftest import EMBEDDED
from tests.integration.engine_harness import EngineHarness

PROMPTS = (
    "a (red:1.3) fox [in the] snow, 8k, it's \\(late\\)",
    "  Zwölf Füchse,\n\n狐 き\N{COMBINING ACUTE ACCENT} 🦊 ",
    "a very long prompt, " * 40,
    "a fox BREAK in the snow",
)


@pytest.mark.parametrize("name", ["embedded", *TINY])
def test_a_prompt_has_as_many_tokens_as_in_the_engine(name: str, harness: EngineHarness) -> None:
    source = EMBEDDED if name == "embedded" else harness.model(name)[1]
    pipeline: Any = load_pipeline(source, torch.float32)
    for prompt in PROMPTS:
        length = measure_prompt(source, prompt)
        if FAMILIES[source.pipeline].prompts == "pipeline":
            tokenizer = next(getattr(pipeline, each) for each in TOKENIZER_NAMES if hasattr(pipeline, each))
            assert length.tokens == len(tokenizer(prompt, verbose=False).input_ids)
            assert length.limit == FAMILIES[source.pipeline].tokens
        else:
            chunks = build_prompt_encoder(pipeline).encoders[-1].tokenize(prompt, {})
            assert (length.tokens, length.parts) == (sum(map(len, chunks)), len(chunks))
            assert length.limit == 75 * len(chunks)


def test_a_prompt_that_changes_has_the_length_of_its_longest_text() -> None:
    assert measure_prompt(EMBEDDED, "a [fox:small hedgehog:0.5]") == measure_prompt(EMBEDDED, "a small hedgehog")


def test_lora_tags_are_no_tokens() -> None:
    assert measure_prompt(EMBEDDED, "a fox <lora:neon:0.5>") == measure_prompt(EMBEDDED, "a fox")


def test_a_tokenizer_is_built_from_its_vocabulary(tmp_path: Path) -> None:
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(CLIP_TOKENIZER_FOLDER / name, tmp_path)
    theirs = Qwen2Tokenizer.from_pretrained(tmp_path)
    ours = load_tokenizer(tmp_path, "Qwen2Tokenizer")
    assert [ours.encode(prompt).ids for prompt in PROMPTS] == [theirs(prompt).input_ids for prompt in PROMPTS]


def test_a_model_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    source = ModelSource(id="bare", name="Bare", pipeline="StableDiffusionPipeline", path=tmp_path)
    with pytest.raises(TokensUnknown, match="Bare"):
        measure_prompt(source, "a fox")
