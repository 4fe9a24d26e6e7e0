"""HiDream-I1, whose pipeline scales each picture to the area that its model was trained for."""

from __future__ import annotations

import math
from dataclasses import replace

from imagegen.engine.families.derived import DerivedFamily
from imagegen.engine.protocols import Pipeline, get_vae_scale_factor
from imagegen.schema.sizes import Size


class HiDreamImage(DerivedFamily):
    """Its denoiser gets the text features of many layers of a language model, of shape (layers, n, tokens, width)."""

    batch_rules = replace(DerivedFamily.batch_rules, inseparable=("encoder_hidden_states_llama3",))

    def prepare_job(self, pipeline: Pipeline, size: Size) -> None:
        """The pipeline gets the area of the picture as the one to scale to; a little more, as it rounds sides down."""
        super().prepare_job(pipeline, size)
        side = math.sqrt(size[0] * size[1]) * (1 + 1e-6)
        pipeline.__dict__["default_sample_size"] = side / get_vae_scale_factor(pipeline)
