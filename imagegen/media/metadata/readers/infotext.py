"""Infotext: AUTOMATIC1111's web UI, Forge, SD.Next, Civitai's generator, and many that write what these read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from imagegen.media.metadata import notes
from imagegen.media.metadata.found import FoundSampler, FoundSettings, NamedFile, list_objects, to_number, to_weight
from imagegen.media.metadata.infotext import DEFAULT_SETTINGS, JSON_DECODER, parse_infotext
from imagegen.media.metadata.png_text import SETTINGS_KEY
from imagegen.schema.prompt_tags import LORA_KINDS, TAG_PATTERN

MIN_SETTINGS = ("Steps", "Sampler", "Seed", "CFG scale", "Size-1", "Model", "Model hash", "Postprocess upscaler")
# What says nothing of how the picture was made.
INFORMATION = frozenset({
    "Prompt", "Negative prompt", "Version", "App", "User", "Created Date", "Time taken", "Batch size", "Batch pos",
    "Index", "Batch", "Civitai metadata", "Pipeline", "Operations", "Diffusion in Low Bits", "Comment", "Parser",
    "Fooocus", "Backend", "Metadata Scheme",
})  # fmt: skip
SAMPLER_NAMES = frozenset({"Sampler", "Schedule type", "Scheduler", "Schedule"})
NUMBERS = {
    "Steps": "steps",
    "Seed": "seed",
    "Step cache": "step_cache",
    "Hires upscale": "hires_scale",
    "Hires scale": "hires_scale",
    "Hires steps": "hires_steps",
    "Hires strength": "hires_strength",
    "Hires denoising strength": "hires_strength",
    "Variation seed": "variation_seed",
    "Variation seed strength": "variation_strength",
    "Variation strength": "variation_strength",
    "Clip skip": "clip_layer",
    "Hires upscaler": "hires_upscaler",
    "Postprocess upscale by": "scale",
    "Postprocess upscaler": "upscaler",
}
START_IMAGE = {
    "Mask blur": "mask_blur",
    "Masked area padding": "mask_padding",
    "Masked content": "mask_fill",
    "Inpaint area": "mask_area",
    "Mask mode": "mask_invert",
}
DETAIL = {
    "ADetailer model classes": "detail_label",
    "ADetailer prompt": "detail_prompt",
    "ADetailer confidence": "detail_confidence",
    "ADetailer denoising strength": "detail_strength",
    "ADetailer inpaint padding": "detail_padding",
}
# What the extension always writes.
DETAIL_INFORMATION = frozenset(
    {"ADetailer version", "ADetailer inpaint only masked", "ADetailer dilate erode", "ADetailer mask blur"}
)
# What Civitai calls its files, and what they are here.
CIVITAI_KINDS = {
    "checkpoint": "model", "lora": "lora", "lycoris": "lora", "locon": "lora", "dora": "lora", "embed": "embedding",
    "embedding": "embedding", "textualinversion": "embedding", "vae": "vae",
}  # fmt: skip
CIVITAI_NAMES = ("modelName", "modelVersionName", "modelVersionId", "air")
HASHES_PATTERN = re.compile(r"([^:,]+?)\s*:\s*([0-9a-fA-F]{8,64})")
MODEL_HASH_PATTERN = re.compile(r"[0-9a-fA-F]{8,64}")
# Settings may be followed by other lines, such as the templates of an extension.
SETTINGS_LINE = re.compile(r"^(?:Steps|Seed|Sampler): ", re.MULTILINE)


def read_infotext(texts: Mapping[str, str]) -> FoundSettings | None:
    """Returns the settings; None for a text without any."""
    return read_infotext_settings(texts.get(SETTINGS_KEY, ""))


def read_infotext_settings(text: str, tool: str | None = None) -> FoundSettings | None:
    """Returns the settings in an infotext; None if it has none. `tool` is what wrote it, if that is known."""
    values = parse_settings(text)
    if not any(name in values for name in MIN_SETTINGS):
        return None
    found = FoundSettings(tool or name_tool(values), values.get("Version") or None)
    add_prompts(found, values)
    add_sampling(found, values)
    add_files(found, values)
    add_pictures(found, values)
    add_others(found, values)
    return found


def parse_settings(text: str) -> dict[str, str]:
    """Returns what `parse_infotext` finds, without what it takes for granted, also before lines with something else."""
    values = parse_infotext(text)
    if "Steps" not in values and (starts := [match.start() for match in SETTINGS_LINE.finditer(text)]):
        head, _, _ = text[starts[-1] :].partition("\n")
        values = parse_infotext(text[: starts[-1]] + head)
    return {name: value for name, value in values.items() if name not in DEFAULT_SETTINGS or f"{name}: " in text}


def name_tool(values: Mapping[str, str]) -> str:
    version = values.get("Version", "")
    if "Civitai resources" in values or "Civitai metadata" in values:
        return "Civitai"
    if values.get("App", "").casefold().replace(".", "") == "sdnext":
        return "SD.Next"
    if version.startswith("Fooocus"):
        return "Fooocus"
    if version == "ComfyUI":
        return "ComfyUI"
    if re.match(r"f\d|neo|forge|classic", version, re.IGNORECASE) or "Distilled CFG Scale" in values:
        return "Forge"
    return "AUTOMATIC1111"


def add_prompts(found: FoundSettings, values: Mapping[str, str]) -> None:
    found.add("Prompt", values.get("Raw prompt") or values.get("Prompt"), "prompt")
    found.add("Negative prompt", values.get("Raw negative prompt") or values.get("Negative prompt"), "negative_prompt")


def add_sampling(found: FoundSettings, values: Mapping[str, str]) -> None:
    schedule = next((values[name] for name in ("Schedule type", "Scheduler", "Schedule") if name in values), "")
    if name := values.get("Sampler"):
        found.add("Sampler", f"{name}, {schedule}" if schedule else name, "sampler", FoundSampler(name, schedule))
    if distilled := values.get("Distilled CFG Scale"):
        found.add("Distilled CFG Scale", distilled, "guidance_scale")
    elif scale := values.get("CFG scale"):
        found.add("CFG scale", scale, "guidance_scale")
    if "Size-1" in values and "Size-2" in values:
        found.add("Size", f"{values['Size-1']}x{values['Size-2']}", "size")
    found.add_fields(values, NUMBERS)
    add_noise(found, values)


def add_noise(found: FoundSettings, values: Mapping[str, str]) -> None:
    """Adds where the noise was made. In AUTOMATIC1111's web UI and Forge it is the GPU, unless they say so."""
    rng = values.get("RNG") or ("GPU" if found.tool in ("AUTOMATIC1111", "Forge") and "Seed" in values else "")
    if rng and rng != "CPU":
        found.add("RNG", rng, None, note=notes.GPU_NOISE if rng == "GPU" else notes.OTHER_NOISE)


def add_files(found: FoundSettings, values: Mapping[str, str]) -> None:
    add_model(found, values)
    if (vae := values.get("VAE") or values.get("Module 1")) and vae not in ("None", "Automatic"):
        found.add("VAE", vae, "vae", NamedFile(vae, values.get("VAE hash", "")))
    checksums = dict(HASHES_PATTERN.findall(values.get("Lora hashes", "")))
    for name, weight, text in find_lora_tags(values.get("Prompt", "")):
        found.add(text, text, "lora", NamedFile(name, checksums.get(name, ""), weight))
    for name, checksum in HASHES_PATTERN.findall(values.get("TI hashes", "")):
        found.add("TI hashes", f"{name}: {checksum}", "embedding", NamedFile(name, checksum))
    for name in (part.strip() for part in values.get("Embeddings", "").split(",") if part.strip()):
        found.add("Embeddings", name, "embedding", NamedFile(name))
    add_civitai_resources(found, values.get("Civitai resources", ""))


def add_model(found: FoundSettings, values: Mapping[str, str]) -> None:
    name, checksum = values.get("Model", ""), values.get("Model hash", "")
    checksum = checksum if MODEL_HASH_PATTERN.fullmatch(checksum) else ""
    if name or checksum:
        text = f"{name} [{checksum}]" if name and checksum else name or checksum
        found.add("Model" if name else "Model hash", text, "model", NamedFile(name, checksum))


def find_lora_tags(prompt: str) -> Iterator[tuple[str, float, str]]:
    """Yields name, weight and text of each LoRA tag of a prompt."""
    for match in TAG_PATTERN.finditer(prompt):
        name, *weights = match[2].split(":")
        if match[1].casefold() in LORA_KINDS:
            yield name, to_weight(weights[0]) if weights else 1.0, match[0]


def add_civitai_resources(found: FoundSettings, text: str) -> None:
    """Adds the files of Civitai's generator, which has names of models and numbers of versions."""
    try:
        resources: Any = JSON_DECODER.decode(text) if text else []
    except (ValueError, RecursionError):
        return
    has_model = any(setting.kind == "model" for setting in found.settings)
    for resource in list_objects(resources):
        kind = CIVITAI_KINDS.get(str(resource.get("type") or read_air_type(resource.get("air"))).casefold())
        if kind == "model" and has_model:
            continue
        name = next((str(resource[key]) for key in CIVITAI_NAMES if resource.get(key)), "")
        file = NamedFile(name, weight=to_weight(resource.get("weight", 1)))
        found.add("Civitai resources", resource, kind, file if kind else None)


def read_air_type(air: object) -> str:
    """Returns the type in an identifier such as `urn:air:sdxl:lora:civitai:12@34`."""
    parts = air.split(":") if isinstance(air, str) else []
    return parts[3] if len(parts) > 3 else ""


def add_pictures(found: FoundSettings, values: Mapping[str, str]) -> None:
    """Adds what belongs to pictures that are not in the file: start images, masks and controls."""
    is_hires = any(name in values for name in ("Hires upscale", "Hires resize-1", "Hires upscaler"))
    if "Denoising strength" in values:
        strength = to_number(values["Denoising strength"])
        if is_hires:
            found.add("Denoising strength", values["Denoising strength"], "hires_strength", strength)
        else:
            found.add("Denoising strength", values["Denoising strength"], "strength", note=notes.NEEDS_START_IMAGE)
    for name, field in START_IMAGE.items():
        found.add(name, values.get(name), field, note=notes.NEEDS_START_IMAGE)
    for name, value in values.items():
        if re.fullmatch(r"ControlNet \d+", name):
            found.add(name, value, "controls", note=notes.NEEDS_PICTURE)
    if detector := values.get("ADetailer model"):
        found.add("ADetailer model", detector, "detail_detector", NamedFile(detector))
        found.add_fields(values, DETAIL)


def add_others(found: FoundSettings, values: Mapping[str, str]) -> None:
    known = {
        *INFORMATION, *SAMPLER_NAMES, *NUMBERS, *START_IMAGE, *DETAIL, *DETAIL_INFORMATION,
        "Size-1", "Size-2", "Model", "Model hash", "VAE", "VAE hash", "Lora hashes", "TI hashes", "Embeddings", "RNG",
        "Denoising strength", "ADetailer model", "Hashes", "Civitai resources", "Raw prompt", "Raw negative prompt",
        *(["CFG scale"] if values.get("CFG scale") in ("1", "1.0") or "Distilled CFG Scale" not in values else []),
        "Distilled CFG Scale", *(["Module 1"] if "VAE" not in values else []), "Lora weights", "Hires size", "Refine",
        "Emphasis" if values.get("Emphasis") == "Original" else "",
    }  # fmt: skip
    others = {name: value for name, value in values.items() if not re.fullmatch(r"ControlNet \d+", name)}
    found.add_unknown(others, known)
