"""Stable Diffusion 3 and 3.5."""

from __future__ import annotations

from imagegen.engine.batching.collate import BatchRules
from imagegen.engine.families.base import ModelFamily
from imagegen.engine.previews.projection import build_projection
from imagegen.library.family_facts import STABLE_DIFFUSION_3


class StableDiffusion3(ModelFamily):
    facts = STABLE_DIFFUSION_3
    batch_rules = BatchRules(additions=("block_controlnet_hidden_states",))
    preview_projection = build_projection(
        [
            [-0.0922, -0.0175, 0.0749],
            [0.0311, 0.0633, 0.0954],
            [0.1994, 0.0927, 0.0458],
            [0.0856, 0.0339, 0.0902],
            [0.0587, 0.0272, -0.0496],
            [-0.0006, 0.1104, 0.0309],
            [0.0978, 0.0306, 0.0427],
            [-0.0042, 0.1038, 0.1358],
            [-0.0194, 0.0020, 0.0669],
            [-0.0488, 0.0130, -0.0268],
            [0.0922, 0.0988, 0.0951],
            [-0.0278, 0.0524, -0.0542],
            [0.0332, 0.0456, 0.0895],
            [-0.0069, -0.0030, -0.0810],
            [-0.0596, -0.0465, -0.0293],
            [-0.1448, -0.1463, -0.1189],
        ],
        (0.2394, 0.2135, 0.1925),
    )
