"""The samplers and schedules of other tools under the studio's names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from imagegen.media.metadata.found import FoundSampler
from imagegen.schema.field_types import SamplerName

# By the names of k-diffusion, which all tools spell in their own ways: without spaces, hyphens and underscores.
SAMPLERS: Mapping[str, SamplerName] = {
    "euler": "Euler",
    "eulera": "Euler a",
    "eulerancestral": "Euler a",
    "ddim": "DDIM",
    "ddimv3": "DDIM",
    "dpmpp2m": "DPM++ 2M",
    "dpmsolver++": "DPM++ 2M",
    "dpmsolvermultistep": "DPM++ 2M",
    "dpmpp2msde": "DPM++ 2M SDE",
    "dpmpp2msdegpu": "DPM++ 2M SDE",
    "unipc": "UniPC",
    "unipcbh2": "UniPC",
    "lcm": "LCM",
    "default": "Default",
    "flowmatcheuler": "Euler",
    "eulerflowmatch": "Euler",
}
# A schedule by all its names.
SCHEDULES: Mapping[str, str] = {
    "normal": "normal",
    "uniform": "normal",
    "discrete": "normal",
    "native": "normal",
    "karras": "karras",
    "exponential": "exponential",
    "polyexponential": "polyexponential",
    "sgmuniform": "sgm uniform",
    "simple": "simple",
    "beta": "beta",
    "alignyoursteps": "align your steps",
    "ays": "align your steps",
}
# A name of a schedule at the end of the name of a sampler; "_k" is InvokeAI's, "ka" k-diffusion's own.
SCHEDULE_SUFFIX = re.compile(r"(?:[ _](karras|exponential|k|ka|ays|sgm[ _]uniform|simple|beta))$", re.IGNORECASE)
SUFFIX_SCHEDULES = {"k": "karras", "ka": "karras"}
# What AUTOMATIC1111's web UI and Forge choose for "Automatic", where it is not the normal one.
AUTOMATIC = "automatic"
AUTOMATIC_SCHEDULES: Mapping[SamplerName, str] = {"DPM++ 2M": "karras", "DPM++ 2M SDE": "exponential"}
# The tool chooses, or takes what the model's files say.
OPEN_SCHEDULES = ("", AUTOMATIC, "default")
# The samplers of the studio with a schedule in their names.
WITH_SCHEDULE: Mapping[tuple[SamplerName, str], SamplerName] = {
    ("DPM++ 2M", "karras"): "DPM++ 2M Karras",
    ("DPM++ 2M SDE", "karras"): "DPM++ 2M SDE Karras",
}


def simplify(name: str) -> str:
    """Returns a name without case, spaces, hyphens and underscores, and without k-diffusion's prefix."""
    return re.sub(r"[\s_-]", "", name.casefold().removeprefix("k_")).replace("dpm++", "dpmpp")


def split_sampler(found: FoundSampler) -> tuple[SamplerName | None, str]:
    """Returns the studio's sampler and the name of the schedule: "" for the tool's own, None for an unknown sampler.

    A schedule that the studio does not know keeps its name.
    """
    name, schedule = found.name.strip(), simplify(found.schedule)
    sampler = SAMPLERS.get(simplify(name))
    if sampler is None and (match := SCHEDULE_SUFFIX.search(name)):
        sampler = SAMPLERS.get(simplify(name[: match.start()]))
        suffix = simplify(match[1])
        schedule = schedule if schedule not in OPEN_SCHEDULES else SUFFIX_SCHEDULES.get(suffix, suffix)
    if schedule == AUTOMATIC and sampler is not None:
        return sampler, AUTOMATIC_SCHEDULES.get(sampler, "")
    return sampler, "" if schedule in OPEN_SCHEDULES else SCHEDULES.get(schedule, schedule)


def add_schedule(sampler: SamplerName, schedule: str) -> SamplerName | None:
    """Returns the studio's sampler with a schedule; None if it has no such sampler."""
    if schedule in ("", "normal"):
        return sampler
    return WITH_SCHEDULE.get((sampler, schedule))
