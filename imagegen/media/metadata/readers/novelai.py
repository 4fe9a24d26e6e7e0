"""NovelAI: JSON in `Comment`, in text chunks or in the alpha channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagegen.media.metadata import notes
from imagegen.media.metadata.found import (
    FoundSampler,
    FoundSettings,
    NamedFile,
    get_object,
    get_text,
    list_objects,
    parse_object,
)
from imagegen.media.metadata.png_text import SETTINGS_KEY
from imagegen.media.metadata.weights_syntax import convert_novelai

NUMBERS = {"steps": "steps", "scale": "guidance_scale", "seed": "seed"}
KNOWN = frozenset({
    *NUMBERS, "prompt", "uc", "width", "height", "sampler", "noise_schedule", "strength", "noise", "n_samples",
    "v4_prompt", "v4_negative_prompt", "request_type", "signed_hash", "version", "extra_noise_seed",
    "hide_debug_overlay",
    "legacy", "params_version", "lora_unet_weights", "lora_clip_weights", "stream", "image_format",
    "normalize_reference_strength_multiple", "uncond_scale", "add_original_image", "ucPreset",
})  # fmt: skip


def read_novelai(texts: Mapping[str, str]) -> FoundSettings | None:
    # In WebP the same texts are an object in the UserComment.
    texts = {
        **texts,
        **{name: text for name, text in parse_object(texts.get(SETTINGS_KEY)).items() if isinstance(text, str)},
    }
    values = parse_object(texts.get("Comment"))
    if "NovelAI" not in texts.get("Software", "") + texts.get("Title", "") or not values:
        return None
    found = FoundSettings("NovelAI")
    add_prompt(
        found,
        "prompt",
        join_captions(values, "v4_prompt") or get_text(values, "prompt") or texts.get("Description", ""),
        "prompt",
    )
    add_prompt(found, "uc", join_captions(values, "v4_negative_prompt") or get_text(values, "uc"), "negative_prompt")
    if sampler := get_text(values, "sampler"):
        schedule = get_text(values, "noise_schedule")
        found.add("sampler", ", ".join(filter(None, (sampler, schedule))), "sampler", FoundSampler(sampler, schedule))
    found.add_fields(values, NUMBERS)
    if values.get("width") and values.get("height"):
        found.add("width, height", f"{values['width']}x{values['height']}", "size")
    if source := texts.get("Source"):
        found.add("Source", source, "model", NamedFile(source))
    found.add("strength", values.get("strength"), "strength", note=notes.NEEDS_START_IMAGE)
    found.add_unknown(values, KNOWN)
    return found


def join_captions(values: Mapping[str, Any], name: str) -> str:
    """Returns the base caption and those of the characters."""
    caption = get_object(get_object(values, name), "caption")
    characters = (get_text(each, "char_caption") for each in list_objects(caption.get("char_captions")))
    return ", ".join(filter(None, (get_text(caption, "base_caption"), *characters)))


def add_prompt(found: FoundSettings, name: str, text: str, field: str) -> None:
    converted = convert_novelai(text)
    found.add(name, text, field, converted, notes.WEIGHT_SYNTAX if converted != text else "")
