"""A small vocabulary in CLIP's format: byte pairs learned from captions."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from training.captions import caption
from training.drawing.sampling import sample
from training.synonyms import ELSEWHERE, PRAISE

VOCABULARY = 1500
CAPTIONS = 20_000
# CLIP's pattern for words, which are split into byte pairs (openai/CLIP, simple_tokenizer.py).
CLIP_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def make_tokenizer(folder: Path, seed: int = 1) -> CLIPTokenizer:
    """Trains the vocabulary and saves it to `folder`, or loads the one that is there."""
    if (folder / "merges.txt").exists():
        return CLIPTokenizer.from_pretrained(folder)
    rng = random.Random(seed)
    corpus = [caption(sample(rng), rng).text for _ in range(CAPTIONS)]
    corpus += [" ".join(PRAISE + ELSEWHERE)] * 20
    merges = learned_merges(corpus)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = alphabet + [letter + "</w>" for letter in alphabet] + ["".join(pair) for pair in merges]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return CLIPTokenizer.from_pretrained(folder)


def learned_merges(corpus: list[str]) -> list[tuple[str, str]]:
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        min_frequency=4,
        end_of_word_suffix="</w>",
        continuing_subword_prefix="",
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return [(first, second) for first, second in json.loads(tokenizer.to_str())["model"]["merges"]]
