"""The web UI's samplers: each is a name, a scheduler and eta. The studio has one name for the three."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

from imagegen.errors import InvalidRequest
from imagegen.schema.field_types import SamplerName
from imagegen.schema.models import ModelInfo

SAMPLER_NAMES: tuple[SamplerName, ...] = get_args(SamplerName)
SAMPLER_ALIASES: Mapping[SamplerName, tuple[str, ...]] = {
    "Euler": ("k_euler",),
    "Euler a": ("k_euler_a", "k_euler_ancestral"),
    "DPM++ 2M": ("k_dpmpp_2m",),
    "DPM++ 2M Karras": ("k_dpmpp_2m_ka",),
    "DPM++ 2M SDE": ("k_dpmpp_2m_sde",),
    "DPM++ 2M SDE Karras": ("k_dpmpp_2m_sde_ka",),
    "LCM": ("k_lcm",),
}
# stable-diffusion.cpp's names, for clients of its server, which has txt2img too.
SDCPP_NAMES: dict[str, SamplerName] = {"euler_a": "Euler a", "dpm++2m": "DPM++ 2M"}
SAMPLER_BY_NAME: Mapping[str, SamplerName] = SDCPP_NAMES | {
    alias.casefold(): name for name in SAMPLER_NAMES for alias in (name, *SAMPLER_ALIASES.get(name, ()))
}

AUTOMATIC, UNIFORM, KARRAS = "automatic", "uniform", "karras"
# Names of one schedule: timesteps at equal distances. The last two are stable-diffusion.cpp's.
UNIFORM_NAMES = (UNIFORM, "normal", "discrete", "default")
OTHER_SCHEDULERS = (
    "exponential", "polyexponential", "sgm_uniform", "kl_optimal", "align_your_steps", "simple", "ddim", "beta",
)  # fmt: skip
KARRAS_VARIANTS: Mapping[SamplerName, SamplerName] = {
    "DPM++ 2M": "DPM++ 2M Karras",
    "DPM++ 2M SDE": "DPM++ 2M SDE Karras",
}
# The samplers whose schedule is Karras's unless the request names another, since version 1.9 of the web UI.
KARRAS_BY_DEFAULT: tuple[SamplerName, ...] = ("DPM++ 2M",)
# The samplers with a schedule of their own.
WITHOUT_SCHEDULER: tuple[SamplerName, ...] = ("DDIM", "UniPC")
# Eta scales the noise that a step adds. All other samplers add none, and have no eta. DDIM and Euler are one method:
# they differ in the values of eta by default.
SAMPLER_BY_ETA: Mapping[SamplerName, Mapping[float, SamplerName]] = {
    "DDIM": {0: "DDIM", 1: "Euler a"},
    "Euler a": {0: "Euler", 1: "Euler a"},
    "DPM++ 2M SDE": {0: "DPM++ 2M", 1: "DPM++ 2M SDE"},
    "DPM++ 2M SDE Karras": {0: "DPM++ 2M Karras", 1: "DPM++ 2M SDE Karras"},
}


def find_sampler(name: str | None) -> SamplerName | None:
    """Returns the studio's sampler with this name, without regard to case; None for no name. Raises InvalidRequest."""
    if not name:
        return None
    try:
        return SAMPLER_BY_NAME[name.casefold()]
    except KeyError:
        raise InvalidRequest("sampler_name", f"must be one of {', '.join(SAMPLER_NAMES)}") from None


def resolve_sampler(name: str | None, scheduler: str | None, eta: Any, model: ModelInfo) -> SamplerName | None:
    """Returns the studio's sampler for what a request says; None where that is the model's own, without a name.

    Raises InvalidRequest for a combination that the studio does not have.
    """
    named = find_sampler(name)
    sampler = apply_scheduler(named or model.sampler, (scheduler or AUTOMATIC).casefold().replace(" ", "_"))
    if named in KARRAS_BY_DEFAULT and (scheduler or AUTOMATIC).casefold() == AUTOMATIC:
        karras = KARRAS_VARIANTS[named]
        sampler = karras if karras in model.can.samplers else sampler
    sampler = apply_eta(sampler, eta)
    return None if named is None and sampler == model.sampler else sampler


def apply_scheduler(sampler: SamplerName, scheduler: str) -> SamplerName:
    """Returns the sampler with a scheduler. A scheduler in the sampler's name takes precedence, as in the web UI.

    Raises InvalidRequest.
    """
    if scheduler == AUTOMATIC or scheduler in UNIFORM_NAMES or sampler in KARRAS_VARIANTS.values():
        return sampler
    if sampler in WITHOUT_SCHEDULER and scheduler in (KARRAS, *OTHER_SCHEDULERS):
        return sampler
    if scheduler != KARRAS:
        raise InvalidRequest("scheduler", f"must be one of {AUTOMATIC}, {UNIFORM}, {KARRAS}")
    if sampler not in KARRAS_VARIANTS:
        names = " or ".join(KARRAS_VARIANTS)
        raise InvalidRequest("scheduler", f"must be {AUTOMATIC} or {UNIFORM}, unless sampler_name is {names}")
    return KARRAS_VARIANTS[sampler]


def apply_eta(sampler: SamplerName, eta: Any) -> SamplerName:
    """Returns the sampler that adds as much noise as `eta` says; None is the sampler's own. Raises InvalidRequest."""
    if eta is None:
        return sampler
    if isinstance(eta, bool) or not isinstance(eta, int | float) or not math.isfinite(eta):
        raise InvalidRequest("eta", "must be a number")
    variants = SAMPLER_BY_ETA.get(sampler)
    if variants is None:
        return sampler
    if eta not in variants:
        raise InvalidRequest("eta", f"must be 0 or 1 with the sampler {sampler}")
    return variants[eta]
