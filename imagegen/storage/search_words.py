"""Words of prompts for SQLite's full-text search, https://www.sqlite.org/fts5.html."""

from __future__ import annotations

import re

# Scripts without spaces between words: Thai to Khmer, Japanese, Chinese. Each character is a word of its own.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
UNSPACED_CHARACTER = re.compile(f"([{UNSPACED}])")
WORD = re.compile(f"[{UNSPACED}]+|[^\\W_{UNSPACED}]+")


def build_index_text(prompt: str) -> str:
    """Returns a prompt as it is indexed."""
    return UNSPACED_CHARACTER.sub(r" \1 ", prompt)


def build_match(search: str) -> str | None:
    """Returns the FTS5 expression for texts that have all words of `search`; None if it has no word.

    Each word matches those that begin with it. Characters of a script without spaces match in their order, anywhere.
    """
    words: list[str] = WORD.findall(search)
    return " AND ".join(map(build_term, words)) or None


def build_term(word: str) -> str:
    return f'"{" ".join(word)}"' if UNSPACED_CHARACTER.match(word) else f'"{word}"*'
