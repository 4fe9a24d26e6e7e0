"""Samplers with any number of steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from imagegen.engine.samplers import SAMPLERS, create_scheduler
from imagegen.library.family_facts import ALL_SAMPLERS
from imagegen.schema.field_types import SamplerName
from tests.integration.conftest import Generate

EVERY_SAMPLER = pytest.mark.parametrize("sampler", ALL_SAMPLERS)
CONFIG = {
    "beta_start": 0.00085,
    "beta_end": 0.018,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
}


def levels(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.asarray(image, np.float32)


def test_every_name_has_a_sampler() -> None:
    assert set(SAMPLERS) == set(ALL_SAMPLERS)


@EVERY_SAMPLER
def test_a_picture_of_a_batch_is_the_one_that_its_seed_gives_alone(generate: Generate, sampler: str) -> None:
    batch = generate(sampler=sampler, seed=3, batch_size=2).images
    assert np.abs(levels(batch[0]) - levels(batch[1])).max() > 2
    for index, image in enumerate(batch):
        alone = generate(sampler=sampler, seed=3 + index).images[0]
        # In a batch, the last digits of a sum may differ.
        assert np.abs(levels(image) - levels(alone)).max() <= 2


def test_so_it_is_from_image_to_image(generate: Generate) -> None:
    start = Image.radial_gradient("L").convert("RGB")
    second = generate(start, sampler="DPM++ 2M SDE", strength=0.7, seed=3, batch_size=2).images[1]
    alone = generate(start, sampler="DPM++ 2M SDE", strength=0.7, seed=4).images[0]
    assert np.abs(levels(second) - levels(alone)).max() <= 2


@EVERY_SAMPLER
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_every_sampler_draws_with_few_steps(generate: Generate, sampler: str, steps: int) -> None:
    assert levels(generate(sampler=sampler, steps=steps).images[0]).std() > 0


@EVERY_SAMPLER
@pytest.mark.parametrize(("steps", "strength"), [(1, 0.3), (5, 0.05), (20, 0.0001), (20, 0.1)])
def test_every_sampler_changes_a_picture_a_little(
    generate: Generate, sampler: str, steps: int, strength: float
) -> None:
    start = Image.linear_gradient("L").convert("RGB")
    image = generate(start, sampler=sampler, steps=steps, strength=strength).images[0]
    assert levels(image).std() > 0


@EVERY_SAMPLER
@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
def test_every_sampler_keeps_to_the_number_of_steps(sampler: SamplerName, spacing: str) -> None:
    scheduler = create_scheduler(sampler, {**CONFIG, "timestep_spacing": spacing})
    for steps in [1, 2, 3, 20, 50, 61, 103, 121, 122, 150]:
        scheduler.set_timesteps(steps)
        assert len(scheduler.timesteps) == steps
        assert scheduler.timesteps.min() >= 0


def denoised(scheduler: Any, steps: int) -> torch.Tensor:
    """Returns latents after a number of steps with a linear denoiser."""
    scheduler.set_timesteps(steps)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    latents: torch.Tensor = noise * scheduler.init_noise_sigma
    for time in scheduler.timesteps:
        output = scheduler.scale_model_input(latents, time).tanh()
        latents = scheduler.step(output, time, latents, return_dict=False)[0]
    return latents


@pytest.mark.parametrize("sampler", ["DDIM", "DPM++ 2M", "DPM++ 2M Karras", "UniPC"])
def test_samplers_agree_where_diffusers_own_take_a_step_too_many(sampler: SamplerName) -> None:
    expected = denoised(create_scheduler("Euler", CONFIG), 60)
    assert torch.allclose(denoised(create_scheduler(sampler, CONFIG), 61), expected, atol=0.1)


@EVERY_SAMPLER
def test_the_last_estimate_is_the_result(sampler: SamplerName) -> None:
    scheduler = create_scheduler(sampler, CONFIG)
    assert torch.allclose(denoised(scheduler, 4), scheduler.estimate, atol=1e-4)


def test_a_sampler_is_the_same_whichever_one_the_model_came_with() -> None:
    karras = {**CONFIG, "use_karras_sigmas": True, "solver_order": 3, "algorithm_type": "sde-dpmsolver++"}
    assert create_scheduler("DPM++ 2M", karras).config == create_scheduler("DPM++ 2M", CONFIG).config
    assert create_scheduler("DPM++ 2M Karras", CONFIG).config["use_karras_sigmas"]
    assert create_scheduler("Euler", karras).config["prediction_type"] == "v_prediction"


def test_every_request_gets_a_scheduler_of_its_own() -> None:
    assert create_scheduler("UniPC", CONFIG) is not create_scheduler("UniPC", CONFIG)
