"""The seeds of a request's pictures."""

from __future__ import annotations

from imagegen.schema.field_types import MAX_SEED
from imagegen.schema.request import GenerationRequest


def derive_seeds(request: GenerationRequest) -> list[int]:
    """Returns the seed of each picture: each is one more than the last; with a variation, all are the same."""
    assert request.seed is not None
    count = len(request.prompts)
    return [request.seed] * count if request.variation_strength else count_up(request.seed, count)


def derive_variation_seeds(request: GenerationRequest) -> list[int] | list[None]:
    """Returns the variation seed of each picture: each is one more than the last; None without a variation."""
    count = len(request.prompts)
    if not request.variation_strength:
        return [None] * count
    assert request.variation_seed is not None
    return count_up(request.variation_seed, count)


def count_up(seed: int, count: int) -> list[int]:
    """Returns seeds from `seed` on. The largest is followed by 0."""
    return [(seed + index) % (MAX_SEED + 1) for index in range(count)]
