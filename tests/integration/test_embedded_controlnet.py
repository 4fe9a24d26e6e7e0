"""The ControlNet of the embedded model in stock diffusers: a picture follows the edges of a map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
from PIL import Image

from imagegen.media.control_maps.canny import canny, find_edges
from imagegen.settings import ASSETS_DIR
from training.edge_score import compare_edges
from training.score import make_trials

FOLDER = ASSETS_DIR / "controlnets" / "studio-edges"
MEGABYTES = 15
# A heart and a circle: the prompt says which, and the map where their borders are.
DRAWING = 3


def test_a_picture_has_the_edges_of_the_map(model_folder: Path) -> None:
    controlnet, problems = ControlNetModel.from_pretrained(FOLDER, output_loading_info=True, dtype=torch.float32)
    assert not any(problems.values())
    pipeline: Any = StableDiffusionControlNetPipeline.from_pretrained(
        model_folder, controlnet=controlnet, dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    trial = make_trials(DRAWING + 1, 256)[DRAWING]
    control_map = canny(Image.fromarray(trial.reference))
    agreements = []
    for scale in (0.0, 1.0):
        picture = pipeline(
            trial.prompt,
            control_map,
            num_inference_steps=8,
            guidance_scale=3.0,
            controlnet_conditioning_scale=scale,
            generator=torch.Generator("cpu").manual_seed(4),
        ).images[0]
        agreements.append(compare_edges(find_edges(trial.reference), find_edges(np.asarray(picture))))
    without, with_it = agreements
    assert with_it.f1 > 0.75
    assert with_it.f1 > without.f1 + 0.2


def test_the_files_are_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < MEGABYTES * 10**6
