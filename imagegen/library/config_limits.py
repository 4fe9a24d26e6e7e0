"""Limits on the numbers in the configurations of a model: a wrong one would take all memory, or hours, to load.

The weights cannot show it: tables such as a scheduler's noise levels are computed from the configuration alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

CONFIG_PATTERNS = ("*/config.json", "*/scheduler_config.json")
# The largest number by a pattern of the key; the first that matches counts. Known models are below by ten times.
MAXIMUM_BY_KEY = (
    (re.compile("num_train_timesteps|original_inference_steps"), 100_000),  # 1,000
    (re.compile("layers|blocks|depth"), 1_000),  # 60
    (re.compile("pos_embed_max_size"), 1_024),  # 192; squared
    (re.compile("sample_size|image_size"), 16_384),  # 1,024; squared
    (re.compile("heads|channels|_dim"), 1_000_000),  # 18,432
    (re.compile("position|length"), 10_000_000),  # 262,144
)
MAXIMUM = 1_000_000_000
MAX_VALUES = 200_000


def find_config_problem(folder: Path, patterns: Iterable[str] = CONFIG_PATTERNS) -> str | None:
    """Returns the first number in the configurations of a folder in diffusers format that is out of range.

    `patterns` find the files of the configurations.

    Names its file and key, and says what is allowed; None if there is none. Raises OSError, ValueError and
    RecursionError for a file that cannot be read.
    """
    for pattern in patterns:
        for file in sorted(folder.glob(pattern)):
            for number, (key, value) in enumerate(list_values(json.loads(file.read_bytes()))):
                problem = describe_problem(key, value) if number < MAX_VALUES else f"more than {MAX_VALUES:,} values"
                if problem is not None:
                    return f"{file.relative_to(folder).as_posix()}: {problem}"
    return None


def list_values(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the values of a configuration at any depth, each with the key that is nearest to it."""
    match value:
        case dict():
            for name, member in value.items():
                yield from list_values(member, name)
        case list():
            for entry in value:
                yield from list_values(entry, key)
        case _:
            yield key, value


def describe_problem(key: str, value: Any) -> str | None:
    """Returns why a value of a configuration cannot be used, or None."""
    if not isinstance(value, int | float) or not math.isfinite(value):  # No size is computed from infinity.
        return None
    maximum = next((maximum for pattern, maximum in MAXIMUM_BY_KEY if pattern.search(key)), MAXIMUM)
    return f"{key} must be at most {maximum:,}" if abs(value) > maximum else None
