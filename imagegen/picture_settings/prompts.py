"""Makes prompts of other tools prompts of the studio."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from imagegen.languages.translation import fill_in
from imagegen.media.metadata import notes
from imagegen.schema.field_types import MAX_PROMPT_CHARS
from imagegen.schema.prompt_tags import LORA_KINDS, TAG_PATTERN
from imagegen.schema.validation import COMBINATION_PATTERN
from imagegen.schema.wildcards import find_choices

# ComfyUI's way to name a textual inversion.
EMBEDDING_PATTERN = re.compile(r"\bembedding:([\w.-]+)")


@dataclass(frozen=True)
class ConvertedPrompt:
    """`unknown_tags` are what was left out of it; `note` says what else differs, "" if nothing does."""

    text: str
    unknown_tags: tuple[str, ...] = ()
    note: str = ""


def convert_prompt(text: str) -> ConvertedPrompt:
    """Returns a prompt without tags: LoRAs are settings of their own."""
    tags = list(TAG_PATTERN.finditer(text))
    unknown = tuple(match[0] for match in tags if match[1].casefold() not in LORA_KINDS)
    words = TAG_PATTERN.sub("", text).strip() if tags else text
    return ConvertedPrompt(*list_changes(words, unknown))


def list_changes(text: str, unknown_tags: tuple[str, ...]) -> tuple[str, tuple[str, ...], str]:
    """Returns the text as a request takes it, the tags, and a note for the last of the changes."""
    note = ""
    printable = "".join(filter_printable(text))
    if printable != text:
        note = notes.UNPRINTABLE
    plain = COMBINATION_PATTERN.sub("and", printable)
    if plain != printable:
        note = notes.COMBINED_PROMPT
    if find_choices(plain):
        plain, note = re.sub(r"(?<!\\)\{", r"\{", plain), notes.PLAIN_BRACES
    if len(plain) > MAX_PROMPT_CHARS:
        note = fill_in(notes.CUT_PROMPT, {"most": MAX_PROMPT_CHARS})
    return plain[:MAX_PROMPT_CHARS], unknown_tags, note


def filter_printable(text: str) -> Iterator[str]:
    return (each for each in text if each in "\t\n\r" or unicodedata.category(each) not in ("Cc", "Cs"))
