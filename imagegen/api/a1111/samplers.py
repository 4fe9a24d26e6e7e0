"""Our samplers under the web UI's names: a sampler, and a scheduler that some samplers can have another of."""

from __future__ import annotations

from typing import get_args

from imagegen.errors import InvalidRequest
from imagegen.schema import SamplerName

SAMPLERS: tuple[str, ...] = get_args(SamplerName)
ALIASES = {
    "Euler": ("k_euler",),
    "Euler a": ("k_euler_a", "k_euler_ancestral"),
    "DPM++ 2M": ("k_dpmpp_2m",),
    "DPM++ 2M Karras": ("k_dpmpp_2m_ka",),
    "DPM++ 2M SDE": ("k_dpmpp_2m_sde",),
    "DPM++ 2M SDE Karras": ("k_dpmpp_2m_sde_ka",),
    "LCM": ("k_lcm",),
}
NAMED = {alias.casefold(): name for name in SAMPLERS for alias in (name, *ALIASES.get(name, ()))}
KARRAS = " Karras"
WITH_KARRAS = [name.removesuffix(KARRAS) for name in SAMPLERS if name.endswith(KARRAS)]


def sampler(name: str | None, scheduler: str | None) -> str | None:
    """Ours, None when the model is to choose. "Automatic" is what the sampler has by itself. Raises InvalidRequest."""
    found = NAMED.get(name.casefold()) if name else None
    if name and found is None:
        raise InvalidRequest("sampler_name", f"must be one of {', '.join(SAMPLERS)}")
    match (scheduler or "automatic").casefold():
        case "automatic":
            return found
        case "karras" if found is not None and found.removesuffix(KARRAS) in WITH_KARRAS:
            return found.removesuffix(KARRAS) + KARRAS
        case "karras":
            raise InvalidRequest("scheduler", f"must be automatic, unless sampler_name is {' or '.join(WITH_KARRAS)}")
        case _:
            raise InvalidRequest("scheduler", "must be one of automatic, karras")
