"""Easy Diffusion: a text chunk for each setting, or all as JSON in Exif."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from imagegen.media.metadata import notes
from imagegen.media.metadata.found import FoundSampler, FoundSettings, NamedFile, parse_object, to_weight
from imagegen.media.metadata.png_text import SETTINGS_KEY

# Since version 2.5 chunks have the names of its API; with the text format they have those of its page.
NAMES = {
    "Prompt": "prompt", "Negative Prompt": "negative_prompt", "Seed": "seed",
    "Stable Diffusion model": "use_stable_diffusion_model", "Clip Skip": "clip_skip", "VAE model": "use_vae_model",
    "Sampler": "sampler_name", "Width": "width", "Height": "height", "Steps": "num_inference_steps",
    "Guidance Scale": "guidance_scale", "Prompt Strength": "prompt_strength", "LoRA model": "use_lora_model",
    "LoRA Strength": "lora_alpha", "Use Upscaling": "use_upscale", "Upscale By": "upscale_amount",
    "ControlNet model": "use_controlnet_model", "ControlNet Filter": "control_filter_to_apply",
    "Hypernetwork model": "use_hypernetwork_model", "Hypernetwork Strength": "hypernetwork_strength",
    "Embedding models": "use_embeddings_model", "Seamless Tiling": "tiling",
    "Use Face Correction": "use_face_correction", "Latent Upscaler Steps": "latent_upscaler_steps",
}  # fmt: skip
NUMBERS = {"seed": "seed", "num_inference_steps": "steps", "guidance_scale": "guidance_scale"}
KNOWN = frozenset({
    *NUMBERS, "prompt", "negative_prompt", "use_stable_diffusion_model", "clip_skip", "use_vae_model", "sampler_name",
    "width", "height", "prompt_strength", "use_lora_model", "lora_alpha", "use_upscale", "upscale_amount",
    "use_embeddings_model", "use_controlnet_model", "control_filter_to_apply",
})  # fmt: skip
MAX_LIST_CHARS = 10_000


def read_easy_diffusion(texts: Mapping[str, str]) -> FoundSettings | None:
    raw = parse_object(texts.get(SETTINGS_KEY)) or texts
    values: dict[str, Any] = {NAMES.get(name, name): value for name, value in raw.items() if value != "None"}
    if "use_stable_diffusion_model" not in values or "num_inference_steps" not in values:
        return None
    found = FoundSettings("Easy Diffusion")
    found.add("prompt", values.get("prompt"), "prompt")
    found.add("negative_prompt", values.get("negative_prompt"), "negative_prompt")
    if isinstance(sampler := values.get("sampler_name"), str):
        found.add("sampler_name", sampler, "sampler", FoundSampler(sampler))
    found.add_fields(values, NUMBERS)
    if values.get("width") and values.get("height"):
        found.add("width, height", f"{values['width']}x{values['height']}", "size")
    add_files(found, values)
    if str(values.get("clip_skip")) == "True":
        found.add("clip_skip", True, "clip_skip", 1)
    found.add("prompt_strength", values.get("prompt_strength"), "strength", note=notes.NEEDS_START_IMAGE)
    if values.get("use_controlnet_model"):
        found.add("use_controlnet_model", values["use_controlnet_model"], "controls", note=notes.NEEDS_PICTURE)
    if values.get("use_upscale"):
        found.add("use_upscale", values["use_upscale"], "upscaler")
        found.add("upscale_amount", values.get("upscale_amount"), "scale")
    own = {name: value for name, value in values.items() if name in NAMES.values() and value != "False"}
    found.add_unknown(own, KNOWN)
    return found


def add_files(found: FoundSettings, values: Mapping[str, Any]) -> None:
    for name, kind in (("use_stable_diffusion_model", "model"), ("use_vae_model", "vae")):
        if isinstance(values.get(name), str) and values[name]:
            found.add(name, values[name], kind, NamedFile(values[name]))
    weights = to_list(values.get("lora_alpha"))
    for number, lora in enumerate(to_list(values.get("use_lora_model"))):
        weight = to_weight(weights[number]) if number < len(weights) else 1.0
        found.add("use_lora_model", lora, "lora", NamedFile(str(lora), weight=weight))
    for embedding in to_list(values.get("use_embeddings_model")):
        found.add("use_embeddings_model", embedding, "embedding", NamedFile(str(embedding)))


def to_list(value: Any) -> list[Any]:
    """Returns a list. In a text chunk it is written as Python writes it; in a text, with commas."""
    if isinstance(value, str) and value.startswith("[") and len(value) <= MAX_LIST_CHARS:
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return []
    elif isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, int | float):
        return [value]
    return [each for each in value if each not in (None, "")] if isinstance(value, list) else []
