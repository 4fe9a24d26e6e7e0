"""Fooocus: JSON in `parameters`. With its scheme "a1111" it writes infotext, which `infotext.py` reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from imagegen.media.metadata.found import FoundSampler, FoundSettings, NamedFile, get_text, parse_object, to_weight
from imagegen.media.metadata.png_text import SETTINGS_KEY

NUMBERS = {"steps": "steps", "guidance_scale": "guidance_scale", "seed": "seed", "clip_skip": "clip_layer"}
KNOWN = frozenset({
    *NUMBERS, "prompt", "negative_prompt", "full_prompt", "full_negative_prompt", "resolution", "base_model",
    "base_model_hash", "sampler", "scheduler", "vae", "loras", "metadata_scheme", "version", "created_by",
    "refiner_model_hash", "performance", "prompt_expansion", "styles",
})  # fmt: skip
COMBINED_LORA = re.compile(r"lora_combined_\d+")
SIZE_PATTERN = re.compile(r"\(\s*'?(\d+)'?\s*,\s*'?(\d+)'?\s*\)")


def read_fooocus(texts: Mapping[str, str]) -> FoundSettings | None:
    values = parse_object(texts.get(SETTINGS_KEY))
    if "base_model" not in values and values.get("metadata_scheme") != "fooocus":
        return None
    found = FoundSettings("Fooocus", get_text(values, "version") or None)
    # The prompt that was encoded, with the words of styles and of the expansion.
    found.add("full_prompt" if values.get("full_prompt") else "prompt", join_prompts(values, "prompt"), "prompt")
    found.add("negative_prompt", join_prompts(values, "negative_prompt"), "negative_prompt")
    if sampler := get_text(values, "sampler"):
        schedule = get_text(values, "scheduler")
        found.add("sampler", f"{sampler}, {schedule}", "sampler", FoundSampler(sampler, schedule))
    found.add_fields(values, NUMBERS)
    if size := SIZE_PATTERN.fullmatch(str(values.get("resolution"))):
        found.add("resolution", f"{size[1]}x{size[2]}", "size")
    if model := get_text(values, "base_model"):
        found.add("base_model", model, "model", NamedFile(model, get_text(values, "base_model_hash")))
    if (vae := get_text(values, "vae")) and not vae.startswith("Default"):
        found.add("vae", vae, "vae", NamedFile(vae))
    add_loras(found, values)
    others = {name: value for name, value in values.items() if not COMBINED_LORA.fullmatch(name)}
    found.add_unknown(others, KNOWN)
    return found


def join_prompts(values: Mapping[str, Any], name: str) -> str:
    """Returns the full prompt, which is a list of texts, or else the one that the user wrote."""
    full = values.get(f"full_{name}")
    texts = [text for text in full if isinstance(text, str)] if isinstance(full, list) else []
    return ", ".join(texts) if texts else full if isinstance(full, str) and full else get_text(values, name)


def add_loras(found: FoundSettings, values: Mapping[str, Any]) -> None:
    loras = values.get("loras")
    for lora in loras if isinstance(loras, list) else ():
        match lora:
            case [str(name), weight, *checksums]:
                checksum = checksums[0] if checksums and isinstance(checksums[0], str) else ""
                found.add("loras", lora, "lora", NamedFile(name, checksum, to_weight(weight)))
    for key in () if isinstance(loras, list) else filter(COMBINED_LORA.fullmatch, values):
        name, separator, weight = str(values[key]).rpartition(" : ")
        if separator and not name.startswith("False"):
            found.add(key, values[key], "lora", NamedFile(name.removeprefix("True : "), weight=to_weight(weight)))
