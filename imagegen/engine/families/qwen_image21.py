"""Qwen-Image 2.1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from imagegen.engine.families.derived import DerivedFamily
from imagegen.engine.protocols import Pipeline
from imagegen.errors import InvalidRequest


class QwenImage21(DerivedFamily):
    def arrange_prompts(self, pipeline: Pipeline, prompts: Sequence[str], arguments: dict[str, Any]) -> dict[str, Any]:
        """Refuses different prompts: the pipeline of diffusers 0.42.1 lets the longest one change the others' pictures.

        Raises InvalidRequest.
        """
        if len(set(prompts)) > 1:
            raise InvalidRequest("more_prompts", f"must be left out with {self.facts.name} models")
        return super().arrange_prompts(pipeline, prompts, arguments)
