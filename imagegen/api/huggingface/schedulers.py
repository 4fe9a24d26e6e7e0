"""diffusers' names of schedulers, which the Inference API's `scheduler` takes, and the samplers that they mean."""

from __future__ import annotations

from collections.abc import Mapping

from imagegen.schema.field_types import SamplerName

SAMPLER_BY_SCHEDULER: Mapping[str, SamplerName] = {
    "EulerDiscreteScheduler": "Euler",
    "FlowMatchEulerDiscreteScheduler": "Euler",
    "EulerAncestralDiscreteScheduler": "Euler a",
    "DDIMScheduler": "DDIM",
    "DPMSolverMultistepScheduler": "DPM++ 2M",
    "UniPCMultistepScheduler": "UniPC",
    "LCMScheduler": "LCM",
}
