"""SwarmUI: JSON with `sui_image_params` in `parameters`."""

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
    to_number,
    to_weight,
)
from imagegen.media.metadata.png_text import SETTINGS_KEY
from imagegen.media.metadata.readers.infotext import find_lora_tags

NUMBERS = {
    "steps": "steps", "seed": "seed", "fluxguidancescale": "guidance_scale", "cfgscale": "guidance_scale",
    "variationseed": "variation_seed", "variationseedstrength": "variation_strength", "refinerupscale": "hires_scale",
    "refinercontrolpercentage": "hires_strength", "refinersteps": "hires_steps",
}  # fmt: skip
# What does not change the picture, or says in other words what is elsewhere.
KNOWN = frozenset({
    *NUMBERS, "prompt", "negativeprompt", "width", "height", "aspectratio", "sidelength", "sampler", "scheduler",
    "model", "vae", "automaticvae", "loras", "loraweights", "initimagecreativity", "images", "batchsize",
    "swarm_version", "clipstopatlayer", "rawresolution", "nopreviews", "imageformat", "wildcardseed", "donotsave",
    "refinerupscalemethod", "refinermethod", "personalnote", "internalbackendtype", "resolution", "seedtype",
    "loratencweights", "lorasectionconfinement", "colordepth", "webhooks", "date", "generation_time",
})  # fmt: skip
LATENT_METHOD, PIXEL_METHOD, MODEL_METHOD = "latent-", "pixel-", "model-"


def read_swarmui(texts: Mapping[str, str]) -> FoundSettings | None:
    values = get_object(parse_object(texts.get(SETTINGS_KEY)), "sui_image_params")
    if not values:
        return None
    found = FoundSettings("SwarmUI", get_text(values, "swarm_version") or None)
    found.add("prompt", values.get("prompt"), "prompt")
    found.add("negativeprompt", values.get("negativeprompt"), "negative_prompt")
    if sampler := get_text(values, "sampler"):
        schedule = get_text(values, "scheduler")
        found.add("sampler", ", ".join(filter(None, (sampler, schedule))), "sampler", FoundSampler(sampler, schedule))
    found.add_fields(values, NUMBERS)
    if values.get("width") and values.get("height"):
        found.add("width, height", f"{values['width']}x{values['height']}", "size")
    add_files(found, values, get_hashes(texts))
    if (layer := to_number(values.get("clipstopatlayer"))) is not None:
        found.add("clipstopatlayer", values["clipstopatlayer"], "clip_layer", -layer)
    found.add("initimagecreativity", values.get("initimagecreativity"), "strength", note=notes.NEEDS_START_IMAGE)
    if method := get_text(values, "refinerupscalemethod"):
        kind = "hires_upscaler" if to_number(values.get("refinerupscale")) not in (None, 1) else None
        name = "Latent" if method.startswith(LATENT_METHOD) else method.removeprefix(PIXEL_METHOD)
        if kind is not None:
            found.add("refinerupscalemethod", method, kind, name.removeprefix(MODEL_METHOD).capitalize())
    found.add_unknown(values, KNOWN)
    return found


def get_hashes(texts: Mapping[str, str]) -> dict[str, str]:
    """Returns the checksums in `sui_models` by the names of the files."""
    models = list_objects(parse_object(texts.get(SETTINGS_KEY)).get("sui_models"))
    return {get_text(model, "name"): get_text(model, "hash").removeprefix("0x") for model in models}


def add_files(found: FoundSettings, values: Mapping[str, Any], hashes: Mapping[str, str]) -> None:
    """Adds the files. Their hashes are of the tensors, and are not compared."""
    if model := get_text(values, "model"):
        found.add("model", model, "model", NamedFile(model))
    if (vae := get_text(values, "vae")) and vae not in ("Automatic", "None"):
        found.add("vae", vae, "vae", NamedFile(vae))
    names, weights = split_list(values.get("loras")), split_list(values.get("loraweights"))
    for number, name in enumerate(names):
        weight = to_weight(weights[number]) if number < len(weights) else 1.0
        found.add("loras", name, "lora", NamedFile(name, weight=weight))
    for name, weight, text in find_lora_tags(get_text(values, "prompt")):
        if name not in names:
            found.add(text, text, "lora", NamedFile(name, weight=weight))


def split_list(value: Any) -> list[str]:
    """Returns a list, which may be a text with commas."""
    parts = value if isinstance(value, list) else value.split(",") if isinstance(value, str) else []
    return [str(part).strip() for part in parts if str(part).strip()]
