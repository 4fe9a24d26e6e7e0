"""Samplers of AUTOMATIC1111's web UI that are another sampler of the studio: both take the same steps."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from imagegen.engine.samplers import create_scheduler
from imagegen.schema.field_types import SamplerName
from imagegen.settings import ASSETS_DIR

CONFIG = json.loads((ASSETS_DIR / "models" / "embedded" / "scheduler" / "scheduler_config.json").read_text())
STEPS = 20


def predict(latents: Tensor, timestep: Tensor) -> Tensor:
    """Takes the place of a denoiser."""
    return torch.tanh(latents * 1.3 + timestep / 1000)


@pytest.mark.parametrize(("eta", "sampler"), [(0.0, "Euler"), (1.0, "Euler a")])
def test_ddim_with_eta_takes_the_steps_of_euler(eta: float, sampler: SamplerName) -> None:
    """Euler's latents are those of DDIM, divided by the share of the picture in them."""
    ddim: Any = create_scheduler("DDIM", CONFIG)
    euler: Any = create_scheduler(sampler, CONFIG)
    ddim.set_timesteps(STEPS)
    euler.set_timesteps(STEPS)
    assert ddim.timesteps.tolist() == euler.timesteps.tolist()
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    euler_latents = latents / ddim.alphas_cumprod[int(ddim.timesteps[0])].sqrt()
    for number, (timestep, euler_timestep) in enumerate(zip(ddim.timesteps, euler.timesteps, strict=True)):
        output = predict(latents, timestep)
        generators = [torch.Generator().manual_seed(number) for _ in range(2)]
        latents = ddim.step(output, timestep, latents, eta=eta, generator=generators[0]).prev_sample
        euler_output = predict(euler.scale_model_input(euler_latents, euler_timestep), euler_timestep)
        euler_step = euler.step(euler_output, euler_timestep, euler_latents, generator=generators[1])
        euler_latents = euler_step.prev_sample
        scaled = euler_latents / torch.sqrt(1 + euler.sigmas[number + 1] ** 2)
        assert torch.allclose(latents, scaled, atol=1e-5)
