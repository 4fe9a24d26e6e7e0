"""Finds the words of textual inversions in a prompt. Needs no torch.

As in AUTOMATIC1111's web UI, case does not matter, of several words at one place the longest counts, and a word may be
in <angle brackets>. A word inside a longer one does not count; letters of scripts without spaces are not part of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from imagegen.schema.prompt_weights import parse_sections

# Thai to Myanmar, Khmer, Japanese and Chinese characters.
SCRIPTS_WITHOUT_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\u3005-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
WORD_CHARACTER = rf"[^\W{SCRIPTS_WITHOUT_SPACES}]"


class FoundWord(NamedTuple):
    """A word in a text, from `start` to `end` with its angle brackets; `word` is as in the list of words."""

    start: int
    end: int
    word: str


def find_words(text: str, words: Collection[str]) -> Iterator[FoundWord]:
    """Yields the places of `words` in a text, from left to right. They do not overlap."""
    if not words:
        return
    for match in compile_words(tuple(sorted(words, key=lambda word: (-len(word), word)))).finditer(text):
        found = match[1] or match[2]
        yield FoundWord(match.start(), match.end(), next(word for word in words if is_same_word(found, word)))


def find_used_embeddings(prompts: Iterable[str], words: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns the ids of the textual inversions with a word in one of the prompts, without their brackets.

    `words` are those of each, by its id. A word that several have stands for the last of them.
    """
    if not words:
        return []
    owners = {word: embedding for embedding, own in words.items() for word in own}
    texts = (text for prompt in prompts for section in parse_sections(prompt) for text, _ in section)
    used = {owners[found.word] for text in texts for found in find_words(text, owners)}
    return [embedding for embedding in words if embedding in used]


def is_same_word(first: str, second: str) -> bool:
    """Returns whether two words differ in nothing but the case of their letters."""
    return re.fullmatch(re.escape(first), second, re.IGNORECASE) is not None


@lru_cache(64)
def compile_words(words: tuple[str, ...]) -> re.Pattern[str]:
    """Returns a pattern whose first or second group is the first of the words that is at a place."""
    alternatives = "|".join(map(re.escape, words))
    return re.compile(rf"<({alternatives})>|(?<!{WORD_CHARACTER})({alternatives})(?!{WORD_CHARACTER})", re.IGNORECASE)
