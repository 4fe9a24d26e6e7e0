"""Tokenizers of some hundred tokens, of the classes that the pipelines expect. All can encode any text."""

from __future__ import annotations

import copy
import json
import string
from collections.abc import Iterable
from functools import cache
from typing import Any

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import BertTokenizer, CLIPTokenizer, GemmaTokenizer, Qwen2Tokenizer, T5Tokenizer

WORDS = (
    "a an the of in on at with and by big small red green blue yellow black white orange purple circle square triangle",
    "star cat dog tree house mountain sea sky photo painting drawing background light dark forest lake snow sunset",
    "portrait people text blurry ugly best quality style",
)
# Qwen-Image drops as many tokens as these words have in the real vocabulary, where each is one token.
QWEN_WORDS = (
    "system\nDescribe the image by detailing the color, shape, size, texture, quantity, text,",
    "spatial relationships of the objects and background:\nuser\nassistant\nthink",
    " spatial",
)
VISION_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for part in message.content %}{{ part.text }}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


@cache
def clip() -> Any:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    splitter = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    merges = byte_pairs(WORDS, pre_tokenizers.Sequence(splitter), end_of_word="</w>")
    letters = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    vocabulary = number_tokens([*letters, *join_merges(merges), "<|startoftext|>", "<|endoftext|>"])
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


@cache
def t5() -> Any:
    """A unigram tokenizer, in which longer pieces have better scores."""
    words = sorted(set(" ".join(WORDS).split()))
    letters = [letter for letter in string.printable if not letter.isspace()]
    pieces = [("▁", -2.0), *((letter, -6.0) for letter in letters), *((f"▁{word}", -4.0) for word in words)]
    specials = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0)]
    return T5Tokenizer(vocab=[*specials, *pieces], extra_ids=0, model_max_length=512)


@cache
def qwen() -> Any:
    """A tokenizer with a short version of Qwen's chat template, for one user message."""
    merges = byte_pairs((*WORDS, *QWEN_WORDS), Qwen2Tokenizer().backend_tokenizer.pre_tokenizer)
    vocabulary = number_tokens([*sorted(pre_tokenizers.ByteLevel.alphabet()), *join_merges(merges), "<|endoftext|>"])
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=merges, model_max_length=1024, chat_template=CHAT)
    tokenizer.add_tokens([AddedToken(token, special=True) for token in ("<|im_start|>", "<|im_end|>")])
    return tokenizer


@cache
def qwen_vision() -> Any:
    """The same with the tokens that stand for a picture."""
    tokenizer = copy.deepcopy(qwen())
    tokenizer.model_max_length = 8192
    tokenizer.add_tokens([AddedToken(token, special=True) for token in VISION_TOKENS])
    return tokenizer


@cache
def bert() -> Any:
    letters = [letter for letter in string.printable if not letter.isspace()]
    words = sorted(set(" ".join(WORDS).replace(",", "").split()))
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*specials, *letters, *(f"##{letter}" for letter in letters), *words]
    return BertTokenizer(vocab=number_tokens(pieces), model_max_length=77)


@cache
def gemma() -> Any:
    splitter = pre_tokenizers.Metaspace()
    merges = byte_pairs(WORDS, splitter)
    letters = [letter for letter in string.printable if letter not in " \t\r\x0b\x0c"]
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = number_tokens([*specials, "▁", *letters, *join_merges(merges)])
    return GemmaTokenizer(vocab=vocabulary, merges=merges, model_max_length=4096)


@cache
def gemma_with_start() -> Any:
    """The same, which puts a token in front of each text, so that an empty text has one."""
    tokenizer = copy.deepcopy(gemma())
    start = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", tokenizer.bos_token_id)]
    )
    tokenizer.backend_tokenizer.post_processor = start
    return tokenizer


def byte_pairs(texts: Iterable[str], splitter: Any, end_of_word: str = "") -> list[tuple[str, str]]:
    """Learns merges until each word of the texts is one token."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=end_of_word, continuing_subword_prefix=""))
    tokenizer.pre_tokenizer = splitter
    trainer = trainers.BpeTrainer(vocab_size=4000, min_frequency=1, end_of_word_suffix=end_of_word, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return [(first, second) for first, second in json.loads(tokenizer.to_str())["model"]["merges"]]


def join_merges(merges: Iterable[tuple[str, str]]) -> list[str]:
    return ["".join(pair) for pair in merges]


def number_tokens(tokens: Iterable[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}
