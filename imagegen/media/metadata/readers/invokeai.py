"""InvokeAI: JSON in `invokeai_metadata`, and `sd-metadata` of versions before 3."""

from __future__ import annotations

import re
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
    to_weight,
)
from imagegen.media.metadata.weights_syntax import convert_invokeai

NUMBERS = {
    "steps": "steps", "guidance": "guidance_scale", "cfg_scale": "guidance_scale", "seed": "seed",
    "clip_skip": "clip_skip", "hrf_strength": "hires_strength",
}  # fmt: skip
KNOWN = frozenset({
    *NUMBERS, "positive_prompt", "negative_prompt", "positive_style_prompt", "negative_style_prompt", "width", "height",
    "scheduler", "model", "vae", "loras", "rand_device", "strength", "init_image", "controlnets", "ipAdapters",
    "t2iAdapters", "generation_mode", "app_version", "hrf_enabled", "ref_images", "canvas_v2_metadata",
    "clip_embed_model", "t5_encoder", "qwen3_encoder", "control_layers",
})  # fmt: skip
PICTURE_LISTS = {
    "controlnets": "controls", "t2iAdapters": "controls", "control_layers": "controls", "ipAdapters": "references",
    "ref_images": "references",
}  # fmt: skip
NEGATIVE_PART = re.compile(r"\[([^\[\]]*)\]")


def read_invokeai(texts: Mapping[str, str]) -> FoundSettings | None:
    if values := parse_object(texts.get("invokeai_metadata")):
        return read_metadata(values)
    if values := parse_object(texts.get("sd-metadata")):
        return read_old_metadata(values)
    return None


def read_metadata(values: Mapping[str, Any]) -> FoundSettings:
    found = FoundSettings("InvokeAI", get_text(values, "app_version") or None)
    add_prompt(found, "positive_prompt", get_text(values, "positive_prompt"), "prompt")
    add_prompt(found, "negative_prompt", get_text(values, "negative_prompt"), "negative_prompt")
    for name in ("positive_style_prompt", "negative_style_prompt"):
        if get_text(values, name) != get_text(values, name.replace("_style", "")):
            found.add(name, values.get(name))
    if scheduler := get_text(values, "scheduler"):
        found.add("scheduler", scheduler, "sampler", FoundSampler(scheduler))
    found.add_fields(values, NUMBERS)
    if values.get("width") and values.get("height"):
        found.add("width, height", f"{values['width']}x{values['height']}", "size")
    add_model(found, "model", get_object(values, "model"), "model")
    add_model(found, "vae", get_object(values, "vae"), "vae")
    for use in list_objects(values.get("loras")):
        model = get_object(use, "model") or get_object(use, "lora")
        found.add("loras", get_name(model), "lora", NamedFile(get_name(model), weight=to_weight(use.get("weight"))))
    add_pictures(found, values)
    found.add_unknown(values, KNOWN)
    return found


def add_pictures(found: FoundSettings, values: Mapping[str, Any]) -> None:
    """Adds what belongs to pictures that are not in the file, and where the noise was made."""
    if values.get("rand_device") not in (None, "cpu"):
        found.add("rand_device", values["rand_device"], note=notes.GPU_NOISE)
    found.add("strength", values.get("strength"), "strength", note=notes.NEEDS_START_IMAGE)
    for name, field in PICTURE_LISTS.items():
        for use in list_objects(values.get(name)):
            found.add(name, use, field, note=notes.NEEDS_PICTURE)


def add_prompt(found: FoundSettings, name: str, text: str, field: str) -> None:
    converted = convert_invokeai(text)
    found.add(name, text, field, converted, notes.WEIGHT_SYNTAX if converted != text else "")


def add_model(found: FoundSettings, name: str, model: Mapping[str, Any], kind: str) -> None:
    """Adds a model. Its hash is BLAKE3 since version 4, and compares with nothing here."""
    checksum = get_text(model, "hash", "model_hash").removeprefix("sha256:")
    if label := get_name(model):
        found.add(name, label, kind, NamedFile(label, "" if ":" in checksum else checksum))


def get_name(model: Mapping[str, Any]) -> str:
    return get_text(model, "name", "model_name")


def read_old_metadata(values: Mapping[str, Any]) -> FoundSettings:
    """Reads the format of versions 1 and 2, whose prompt has its negative part in square brackets."""
    image = get_object(values, "image")
    found = FoundSettings("InvokeAI", get_text(values, "app_version") or None)
    prompts = image.get("prompt")
    parts = [get_text(each, "prompt") for each in list_objects(prompts)]
    text = prompts if isinstance(prompts, str) else ", ".join(filter(None, parts))
    negative = " ".join(NEGATIVE_PART.findall(text))
    add_prompt(found, "prompt", NEGATIVE_PART.sub("", text).strip(), "prompt")
    add_prompt(found, "prompt [negative]", negative, "negative_prompt")
    if sampler := get_text(image, "sampler"):
        found.add("sampler", sampler, "sampler", FoundSampler(sampler))
    found.add_fields(image, NUMBERS)
    if image.get("width") and image.get("height"):
        found.add("width, height", f"{image['width']}x{image['height']}", "size")
    if model := get_text(values, "model_weights"):
        found.add("model_weights", model, "model", NamedFile(model))
    found.add("strength", image.get("strength"), "strength", note=notes.NEEDS_START_IMAGE)
    known = {*NUMBERS, "prompt", "sampler", "width", "height", "strength", "type"}
    found.add_unknown(image, known)
    return found
