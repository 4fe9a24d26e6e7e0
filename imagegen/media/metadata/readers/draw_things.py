"""Draw Things: JSON in the UserComment of XMP or Exif."""

from __future__ import annotations

from collections.abc import Mapping

from imagegen.media.metadata import notes
from imagegen.media.metadata.file_texts import XMP_PREFIX
from imagegen.media.metadata.found import (
    FoundSampler,
    FoundSettings,
    NamedFile,
    get_object,
    get_text,
    list_objects,
    parse_object,
    to_weight,
)
from imagegen.media.metadata.png_text import SETTINGS_KEY

NUMBERS = {"steps": "steps", "scale": "guidance_scale", "seed": "seed"}
KNOWN = frozenset({
    *NUMBERS, "c", "uc", "model", "sampler", "size", "strength", "lora", "control", "v2", "seed_mode", "profile",
    "upscaler",
})  # fmt: skip
CPU_SEED_MODES = ("Torch CPU Compatible", "")
# In v2, where the hires fix and clip skip are.
HIRES_NAMES = {"hiresFixStrength": "hires_strength"}


def read_draw_things(texts: Mapping[str, str]) -> FoundSettings | None:
    values = parse_object(texts.get(f"{XMP_PREFIX}UserComment")) or parse_object(texts.get(SETTINGS_KEY))
    if not isinstance(values.get("c"), str) or "sampler" not in values:
        return None
    found = FoundSettings("Draw Things")
    found.add("c", values["c"], "prompt")
    found.add("uc", values.get("uc"), "negative_prompt")
    if sampler := get_text(values, "sampler"):
        found.add("sampler", sampler, "sampler", FoundSampler(sampler))
    found.add_fields(values, NUMBERS)
    found.add("size", values.get("size"), "size")
    if model := get_text(values, "model"):
        found.add("model", model, "model", NamedFile(model))
    for use in list_objects(values.get("lora")):
        name = get_text(use, "model", "file")
        found.add("lora", name, "lora", NamedFile(name, weight=to_weight(use.get("weight", 1))))
    for use in list_objects(values.get("control")):
        found.add("control", use, "controls", note=notes.NEEDS_PICTURE)
    if values.get("strength") not in (None, 1, 1.0):
        found.add("strength", values["strength"], "strength", note=notes.NEEDS_START_IMAGE)
    if (upscaler := get_text(values, "upscaler")) and upscaler != "None":
        found.add("upscaler", upscaler, "upscaler")
    if (seed_mode := get_text(values, "seed_mode")) not in CPU_SEED_MODES:
        found.add("seed_mode", seed_mode, note=notes.OTHER_NOISE)
    clip_skip = get_object(values, "v2").get("clipSkip")
    if isinstance(clip_skip, int) and not isinstance(clip_skip, bool) and clip_skip > 1:
        found.add("v2.clipSkip", clip_skip, "clip_layer")
    found.add_unknown(values, KNOWN)
    return found
