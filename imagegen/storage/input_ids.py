"""Finds the ids of input pictures in stored JSON, also in that of other versions of the studio."""

from __future__ import annotations

import re
from collections.abc import Iterable

INPUT_ID = re.compile(r'"([0-9a-f]{64})"')


def find_input_ids(texts: Iterable[str]) -> set[str]:
    """Returns all texts inside JSON that have the form of an id; checksums of LoRAs have it too."""
    return {found for text in texts for found in INPUT_ID.findall(text)}
