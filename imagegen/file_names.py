"""Names of downloaded pictures, by a pattern of the settings."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from string import Formatter

from imagegen.schema.receipt import Receipt

FIELDS = ("prompt", "seed", "model", "width", "height", "steps", "date", "time")
# A name may have 255 bytes on most disks, and a letter up to four.
MAX_WORDS, MAX_CHARACTERS = 8, 50
# Letters and digits of any script, and vowel signs, which are no letters.
WORD = re.compile(r"(?:[^\W_]|[\u0300-\u036f\u0900-\u0dff\u0e00-\u0eff\u1000-\u109f])+")


def check_pattern(pattern: str) -> str:
    """Returns a pattern such as `{prompt}-{seed}`. Raises ValueError for an unknown field and for a path."""
    try:
        fields = [field for field in Formatter().parse(pattern) if field[1] is not None]
    except ValueError:
        fields = []
    # A field may have neither a format nor a conversion, which could be wrong, or of any width.
    is_plain = all(name in FIELDS and not spec and conversion is None for _, name, spec, conversion in fields)
    if not fields or not is_plain or re.search(r'[/\\:*?"<>|]', pattern):
        allowed = ", ".join(f"{{{name}}}" for name in FIELDS)
        raise ValueError(f"must be a file name with fields in braces, of {allowed}")
    return pattern


def build_file_name(receipt: Receipt, created: float, pattern: str) -> str:
    """Returns the name without an ending. `created` is in seconds since 1970. Letters of any script are kept."""
    time = datetime.fromtimestamp(created, UTC)
    width, height = receipt.size
    values = {
        "seed": "" if receipt.seed is None else receipt.seed,
        "steps": "" if receipt.steps is None else receipt.steps,
        "width": width,
        "height": height,
        "prompt": join_words(receipt.prompt),
        "model": join_words(receipt.model_id or ""),
        "date": f"{time:%Y-%m-%d}",
        "time": f"{time:%H-%M-%S}",
    }
    return pattern.format_map(values).strip("-. ") or str(receipt.seed or round(created))


def join_words(text: str) -> str:
    """Returns the first words of a text in lower case, joined by hyphens."""
    words: list[str] = WORD.findall(text.lower())
    return "-".join(words[:MAX_WORDS])[:MAX_CHARACTERS].rstrip("-")
