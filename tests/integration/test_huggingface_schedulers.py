"""The names of schedulers in Hugging Face's API are those of the samplers that the engine has."""

from __future__ import annotations

from typing import Any

from imagegen.api.huggingface.schedulers import SAMPLER_BY_SCHEDULER
from imagegen.engine.samplers import FLOW_SAMPLERS, SAMPLERS


def test_schedulers_are_those_of_their_samplers() -> None:
    """By the class names of diffusers' schedulers, which the engine's classes have or derive from."""
    for scheduler, sampler in SAMPLER_BY_SCHEDULER.items():
        classes: list[Any] = [table[sampler][0] for table in (SAMPLERS, FLOW_SAMPLERS) if sampler in table]
        names = {base.__name__ for each in classes for base in each.__mro__}
        assert scheduler in names, sampler
