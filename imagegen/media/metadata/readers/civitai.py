"""Civitai's generator: a graph of ComfyUI with the settings beside it. Its other form is infotext."""

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
    to_weight,
)
from imagegen.media.metadata.png_text import SETTINGS_KEY
from imagegen.media.metadata.readers.infotext import CIVITAI_KINDS, read_air_type

NUMBERS = {"steps": "steps", "cfgScale": "guidance_scale", "seed": "seed", "clipSkip": "clip_layer"}
KNOWN = frozenset({
    *NUMBERS, "prompt", "negativePrompt", "sampler", "width", "height", "resources", "workflowId", "denoise",
    "quantity", "priority", "baseModel", "workflow", "aspectRatio", "outputFormat", "process", "engine", "nsfw",
    "draft", "experimental", "fluxMode", "sourceImage", "images", "remixOfId", "transformations",
})  # fmt: skip
KINDS = {
    "checkpoint": "model",
    "lora": "lora",
    "lycoris": "lora",
    "dora": "lora",
    "embedding": "embedding",
    "vae": "vae",
}


def read_civitai(texts: Mapping[str, str]) -> FoundSettings | None:
    for name in (SETTINGS_KEY, "prompt", "workflow"):
        graph = parse_object(texts.get(name))
        values = get_object(graph, "extraMetadata") or get_object(get_object(graph, "extra"), "extraMetadata")
        if get_text(values, "prompt"):
            return read_metadata(values, graph)
    return None


def read_metadata(values: Mapping[str, Any], graph: Mapping[str, Any]) -> FoundSettings:
    found = FoundSettings("Civitai")
    found.add("prompt", values.get("prompt"), "prompt")
    found.add("negativePrompt", values.get("negativePrompt"), "negative_prompt")
    if sampler := get_text(values, "sampler"):
        found.add("sampler", sampler, "sampler", FoundSampler(sampler))
    found.add_fields(values, NUMBERS)
    if values.get("width") and values.get("height"):
        found.add("width, height", f"{values['width']}x{values['height']}", "size")
    found.add("denoise", values.get("denoise"), "strength", note=notes.NEEDS_START_IMAGE)
    add_resources(found, values, graph)
    found.add_unknown(values, KNOWN)
    return found


def add_resources(found: FoundSettings, values: Mapping[str, Any], graph: Mapping[str, Any]) -> None:
    """Adds the files. The graph names them as `urn:air:sdxl:lora:civitai:12@34`, the settings by the last number."""
    airs = get_object(graph, "extra").get("airs")
    by_version = {
        air.rpartition("@")[2]: air
        for air in (airs if isinstance(airs, list) else ())
        if isinstance(air, str) and air.count(":") >= 5
    }
    for resource in list_objects(values.get("resources")):
        version = str(resource.get("modelVersionId") or resource.get("id") or "")
        air = by_version.get(version, "")
        label = get_text(resource, "modelName", "name") or air or version
        kind = CIVITAI_KINDS.get(str(resource.get("type") or read_air_type(air)).casefold())
        weight = to_weight(resource.get("strength", resource.get("weight", 1)))
        found.add("resources", label, kind, NamedFile(label, weight=weight) if kind else None)
