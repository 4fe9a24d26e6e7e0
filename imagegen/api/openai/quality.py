"""OpenAI's `quality`, which chooses the number of steps of a model."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Literal, get_args

from imagegen.schema.field_types import MAX_STEPS

Quality = Literal["low", "medium", "high", "xhigh", "max"]
# The steps of a quality, in units of the model's own steps.
STEP_FACTORS: Mapping[Quality, float] = {"low": 0.5, "medium": 1, "high": 1.5, "xhigh": 2, "max": 3}
# DALL·E's names.
QUALITY_NAMES: Mapping[str, Quality] = {name: name for name in get_args(Quality)} | {
    "standard": "medium",
    "hd": "high",
}
# "low" takes no steps from a model that has this many or fewer: it was trained for few.
FEWEST_STEPS = 4


def get_steps(model_steps: int, quality: Quality) -> int:
    """Returns the steps of a quality with a model whose own number of steps is `model_steps`."""
    fewest = min(model_steps, FEWEST_STEPS)
    return min(MAX_STEPS, max(fewest, ceil(model_steps * STEP_FACTORS[quality])))


def list_steps(model_steps: int) -> dict[Quality, int]:
    """Returns the steps of each quality with such a model."""
    return {quality: get_steps(model_steps, quality) for quality in STEP_FACTORS}
