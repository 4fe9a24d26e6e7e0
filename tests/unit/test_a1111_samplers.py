"""Sampler, scheduler and eta of AUTOMATIC1111's web UI become one sampler of the studio."""

from __future__ import annotations

from typing import Any

import pytest

from imagegen.api.a1111.lists import list_samplers, list_schedulers
from imagegen.api.a1111.samplers import SAMPLER_NAMES, resolve_sampler
from imagegen.errors import InvalidRequest
from imagegen.schema.field_types import SamplerName
from imagegen.schema.models import Capabilities, ModelInfo


def make_model(sampler: SamplerName, *samplers: SamplerName) -> ModelInfo:
    can = Capabilities(samplers=samplers or SAMPLER_NAMES, max_side=512)
    return ModelInfo(
        id="m", name="m", family="f", can=can, width=512, height=512, steps=20, guidance_scale=7, sampler=sampler
    )


MODEL = make_model("UniPC")


@pytest.mark.parametrize(
    ("name", "scheduler", "ours"),
    [
        (None, None, None),
        ("", "", None),
        (None, "karras", None),
        ("Euler a", "automatic", "Euler a"),
        ("k_euler_a", "Automatic", "Euler a"),
        ("euler A", None, "Euler a"),
        ("euler_a", "discrete", "Euler a"),
        ("Euler", "Uniform", "Euler"),
        ("Euler", "normal", "Euler"),
        ("DPM++ 2M", "Automatic", "DPM++ 2M Karras"),
        ("DPM++ 2M", None, "DPM++ 2M Karras"),
        ("DPM++ 2M", "", "DPM++ 2M Karras"),
        ("DPM++ 2M", "karras", "DPM++ 2M Karras"),
        ("DPM++ 2M", "uniform", "DPM++ 2M"),
        ("dpm++2m", "Normal", "DPM++ 2M"),
        ("DPM++ 2M Karras", "automatic", "DPM++ 2M Karras"),
        ("DPM++ 2M Karras", "Karras", "DPM++ 2M Karras"),
        ("DPM++ 2M Karras", "uniform", "DPM++ 2M Karras"),
        ("DPM++ 2M SDE", "Karras", "DPM++ 2M SDE Karras"),
        ("DPM++ 2M SDE", "automatic", "DPM++ 2M SDE"),
        ("unipc", "", "UniPC"),
        ("UniPC", "karras", "UniPC"),
        ("DDIM", "SGM Uniform", "DDIM"),
        ("k_lcm", "", "LCM"),
        ("ddim", None, "DDIM"),
    ],
)
def test_a_sampler_with_a_scheduler(name: str | None, scheduler: str | None, ours: str | None) -> None:
    assert resolve_sampler(name, scheduler, None, MODEL) == ours


@pytest.mark.parametrize(
    ("name", "eta", "ours"),
    [
        ("Euler a", None, "Euler a"),
        ("Euler a", 1, "Euler a"),
        ("Euler a", 0.0, "Euler"),
        ("DDIM", 0, "DDIM"),
        ("DDIM", 1.0, "Euler a"),
        ("DPM++ 2M SDE", 0, "DPM++ 2M"),
        ("DPM++ 2M SDE Karras", 0, "DPM++ 2M Karras"),
        ("DPM++ 2M SDE", 1, "DPM++ 2M SDE"),
        ("Euler", 0.3, "Euler"),
        ("LCM", 0, "LCM"),
        (None, 1, None),
    ],
)
def test_eta_decides_how_much_noise_is_added(name: str | None, eta: Any, ours: str | None) -> None:
    assert resolve_sampler(name, None, eta, MODEL) == ours


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("LMS", None, None), "sampler_name: must be one of Euler, Euler a"),
        (("Euler", "beta", None), "scheduler: must be one of automatic, uniform, karras"),
        (("Euler", "karras", None), "scheduler: must be automatic or uniform, unless sampler_name is DPM++ 2M or"),
        (("DDIM", "nonsense", None), "scheduler: must be one of automatic, uniform, karras"),
        (("Euler a", None, 0.5), "eta: must be 0 or 1 with the sampler Euler a"),
        (("DDIM", None, 2), "eta: must be 0 or 1 with the sampler DDIM"),
        (("Euler", None, "1"), "eta: must be a number"),
        (("Euler", None, float("nan")), "eta: must be a number"),
        (("Euler", None, float("inf")), "eta: must be a number"),
    ],
)
def test_what_the_studio_does_not_have_is_named(arguments: tuple[Any, Any, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        resolve_sampler(*arguments, MODEL)
    assert str(caught.value).startswith(message)


def test_a_model_keeps_its_own_sampler_and_one_without_karras_has_none() -> None:
    assert resolve_sampler(None, None, None, make_model("DPM++ 2M")) is None
    assert resolve_sampler(None, None, 0, make_model("Euler a")) == "Euler"
    assert resolve_sampler(None, "karras", None, make_model("DPM++ 2M")) == "DPM++ 2M Karras"
    assert resolve_sampler("DPM++ 2M", "automatic", 1, make_model("Euler", "DPM++ 2M", "Euler")) == "DPM++ 2M"


def test_each_listed_combination_is_understood() -> None:
    for sampler in list_samplers():
        scheduler = sampler.options.get("scheduler")
        assert resolve_sampler(sampler.name, None, None, MODEL) == resolve_sampler(sampler.name, scheduler, None, MODEL)
        for alias in sampler.aliases:
            assert resolve_sampler(alias, None, None, MODEL) == resolve_sampler(sampler.name, None, None, MODEL)
    for each in list_schedulers():
        for name in (each.name, each.label, *(each.aliases or ())):
            assert resolve_sampler("DPM++ 2M", name, None, MODEL) in ("DPM++ 2M", "DPM++ 2M Karras")
