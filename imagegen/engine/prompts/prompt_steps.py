"""Prompts that change from step to step: the embeddings of each, and when a pipeline gets them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from imagegen.engine.prompts.clip import PromptEmbeds
from imagegen.engine.protocols import Pipeline


@dataclass(frozen=True)
class PromptSteps:
    """The embeddings of the prompts and of the negative prompt for each step; each row is for `repeats` pictures.

    Those of equal prompts are the same object. Without any, a pipeline keeps what it began with.
    """

    by_step: Sequence[tuple[PromptEmbeds, PromptEmbeds]] = ()
    repeats: int = 1

    def find_changes(self, pipeline: Pipeline, index: int) -> dict[str, Tensor]:
        """Returns what replaces a pipeline's tensors after the call of the denoiser with this index, from 0 on.

        Samplers of second order call it twice in a step.
        """
        current, following = index // pipeline.scheduler.order, (index + 1) // pipeline.scheduler.order
        if following >= len(self.by_step) or self.by_step[following] is self.by_step[current]:
            return {}
        positive, negative = self.by_step[following]
        rows = (negative, positive) if pipeline.do_classifier_free_guidance else (positive,)
        states, pooled = [each.states for each in rows], [each.pooled for each in rows if each.pooled is not None]
        changes = {"prompt_embeds": states} | ({"add_text_embeds": pooled} if pooled else {})
        return {name: torch.cat(each).repeat_interleave(self.repeats, dim=0) for name, each in changes.items()}
