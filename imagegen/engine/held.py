"""A model in memory, and the pipelines that its runs get."""

from __future__ import annotations

import copy
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from imagegen.engine.clip import PromptEncoder
from imagegen.engine.loading import Pipeline, sharing
from imagegen.engine.memory import Mode
from imagegen.engine.previews import Projection
from imagegen.engine.remembering import Remembered, remembering
from imagegen.engine.samplers import scheduler_for
from imagegen.engine.shared import Shared
from imagegen.engine.weights import Weights
from imagegen.info import ModelSource
from imagegen.library.families import Family
from imagegen.schema import SamplerName

# Prompts that a model remembers what its text encoders said of, where the pipeline asks them itself: 4 MB each or so.
PROMPTS = 16


@dataclass
class Held:
    """A model in memory. `encoder` is None where the pipeline hears prompts by itself.

    `size` is in bytes, `device_size` how many of them are on the device at once when it is there. `shared` are the
    networks that its users ask together; a model that is not wholly on the device has one user at a time. `weights`
    lend it to a device with memory of its own, where main memory can keep them too.
    """

    source: ModelSource
    family: Family
    pipeline: Pipeline
    tailor: Any
    wardrobe: Any
    encoders_wardrobe: Any
    encoder: PromptEncoder | None
    size: int
    device_size: int
    mode: Mode
    schedulers: dict[SamplerName, Any] = field(default_factory=dict)
    said: Remembered[Any] = field(default_factory=lambda: Remembered(PROMPTS))
    runs: dict[bool, Pipeline] = field(default_factory=dict)
    shared: Shared | None = None
    weights: Weights | None = None
    projection: Projection | None = None
    aside: Any = None
    on_device: bool = False
    users: int = 0

    def undress(self) -> None:
        """Takes off what it wears, and forgets what is on the device beside its weights."""
        self.runs = {}
        self.wardrobe.empty()
        self.encoders_wardrobe.empty()
        self.said.forget()
        if self.encoder is not None:
            self.encoder.forget()

    def let_go(self) -> None:
        """Whoever still has it in hand has nothing of it."""
        if self.mode == "offload":
            self.pipeline.remove_all_hooks()
        self.pipeline = self.tailor = self.wardrobe = self.encoders_wardrobe = self.encoder = self.aside = None
        self.runs, self.shared, self.weights = {}, None, None
        self.said.forget()
        self.on_device = False


def pipeline_for(held: Held, sampler: SamplerName, from_image: bool, worn: Hashable = ()) -> Pipeline:
    """A pipeline for one run: with a scheduler of its own, and with the networks of all. Costs little.

    `worn` tells apart what the text encoders wear.
    """
    if from_image not in held.runs:
        held.runs[from_image] = sharing(held.pipeline, from_image)
        if held.shared is not None:
            settle_down(held.runs[from_image])
    if sampler not in held.schedulers:
        held.schedulers[sampler] = scheduler_for(sampler, held.pipeline.scheduler.config)
    pipeline = copy.copy(held.runs[from_image])
    scheduler = copy.copy(held.schedulers[sampler])  # A run begins by giving it lists of its own.
    # Not by setting attributes: then the pipeline writes its configuration anew.
    encode = remembering(pipeline.encode_prompt, held.said, worn)
    pipeline.__dict__ |= {"scheduler": scheduler, "encode_prompt": encode}
    if held.shared is not None:
        pipeline.__dict__ |= held.shared.stand_ins
    return pipeline


def settle_down(pipeline: Pipeline) -> None:
    """It stays where it is. Other pipelines look at all their layers to find out where that is, again and again."""
    kind, device = type(pipeline), next(pipeline.vae.parameters()).device
    pipeline.__class__ = type(kind.__name__, (kind,), {"_execution_device": device})
