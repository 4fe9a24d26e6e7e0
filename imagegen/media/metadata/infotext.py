"""Infotext: the settings of a picture as text, in the form of AUTOMATIC1111's web UI, which many tools use."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from imagegen.schema.controls import ControlMode
from imagegen.schema.receipt import Receipt

PAIR_PATTERN = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
NEGATIVE_PROMPT_PATTERN = re.compile(r"^Negative prompt:", re.MULTILINE)
DIMENSIONS_PATTERN = re.compile(r"(\d+)x(\d+)")
# A last line with fewer is part of the prompt, which may contain colons.
MIN_PAIRS = 3
# A longer line is no settings: reading it could take minutes.
MAX_SETTINGS_CHARS = 100_000
# The web UI's short form of a checkpoint's SHA-256.
MODEL_HASH_DIGITS = 10
# The web UI's names for what is under a mask at the start, other than the original.
MASKED_CONTENT = {"fill": "fill", "noise": "latent noise", "nothing": "latent nothing"}
# The web UI's names for what counts more, the prompt or a control, in the order of its numbers.
CONTROL_MODES: Mapping[ControlMode, str] = {
    "balanced": "Balanced",
    "prompt": "My prompt is more important",
    "control": "ControlNet is more important",
}
CONTROLNET_HASH_DIGITS = 8
JSON_DECODER = json.JSONDecoder(strict=False)
# The meaning of an infotext without these settings.
DEFAULT_SETTINGS = {"Clip skip": "1", "RNG": "GPU"}


def parse_infotext(text: str) -> dict[str, str]:
    """Returns the settings by name, such as "Prompt", "Steps" and "Size-1"; empty if the text is."""
    if not text.strip():
        return {}
    *lines, last = text.strip().split("\n")
    settings = dict(iterate_pairs(last)) if len(last) <= MAX_SETTINGS_CHARS else {}
    if len(settings) < MIN_PAIRS:
        lines, settings = [*lines, last], {}
    prompt, *negative = NEGATIVE_PROMPT_PATTERN.split("\n".join(lines), maxsplit=1)
    found = {"Prompt": prompt.strip(), "Negative prompt": "".join(negative).strip()}
    for name, value in settings.items():
        found |= split_size(name, value) if DIMENSIONS_PATTERN.fullmatch(value) else {name: value}
    return DEFAULT_SETTINGS | found


def iterate_pairs(line: str) -> Iterator[tuple[str, str]]:
    """Yields name and value of each `name: value` in a line that separates them with commas."""
    position = 0
    while position < len(line):
        match = PAIR_PATTERN.match(line, position)
        if match is not None:
            end = find_json_end(line, match.start(2))
            yield match[1], line[match.start(2) : end] if end else unquote(match[2])
            position = skip_comma(line, end) if end else match.end()
        else:
            comma = line.find(",", position)
            position = comma + 1 if comma >= 0 else len(line)


def find_json_end(line: str, start: int) -> int | None:
    """Returns where the JSON list or object ends that begins at a place, such as Civitai's; None if there is none."""
    if not line.startswith(("[", "{"), start):
        return None
    try:
        return JSON_DECODER.raw_decode(line, start)[1]
    except (ValueError, RecursionError):
        return None


def skip_comma(line: str, position: int) -> int:
    comma = line.find(",", position)
    return comma + 1 if comma >= 0 and not line[position:comma].strip() else position


def unquote(value: str) -> str:
    """Returns the content of a JSON string, and any other value unchanged."""
    try:
        unquoted: Any = json.loads(value) if value.startswith('"') else value
    except ValueError:
        return value
    return str(unquoted)


def split_size(name: str, value: str) -> dict[str, str]:
    """Returns `Size: 512x768` as `Size-1: 512` and `Size-2: 768`, as the web UI does."""
    width, height = value.split("x")
    return {f"{name}-1": width, f"{name}-2": height}


def format_a1111_parameters(receipt: Receipt) -> str:
    """Returns the settings of a receipt as infotext."""
    settings = {**list_painting_settings(receipt), **list_upscaling_settings(receipt)}
    lora_tags = "".join(f" <lora:{used.lora}:{used.weight:g}>" for used in receipt.loras)
    lines = [receipt.prompt + lora_tags]
    if receipt.negative_prompt:
        lines.append(f"Negative prompt: {receipt.negative_prompt}")
    return "\n".join([*lines, ", ".join(f"{name}: {value}" for name, value in settings.items())])


def list_painting_settings(receipt: Receipt) -> dict[str, object]:
    """Returns the settings of how a picture was painted; of one that was only made larger, its size before."""
    size = f"{receipt.width}x{receipt.height}"
    if receipt.guidance_scale is None:
        return {"Size": size}
    settings: dict[str, object] = {
        "Steps": receipt.steps,
        "Sampler": receipt.sampler,
        "CFG scale": f"{receipt.guidance_scale:g}",
        "Seed": receipt.seed,
        "Size": size,
    }
    if receipt.model_sha256 is not None:
        settings["Model hash"] = receipt.model_sha256[:MODEL_HASH_DIGITS]
    settings |= {"Model": receipt.model_id, "RNG": "CPU"}
    if receipt.vae is not None and receipt.vae_sha256 is not None:
        settings |= {"VAE hash": receipt.vae_sha256[:MODEL_HASH_DIGITS], "VAE": receipt.vae}
    if receipt.variation_strength:
        settings["Variation seed"] = receipt.variation_seed
        settings["Variation seed strength"] = f"{receipt.variation_strength:g}"
    if receipt.strength is not None:
        settings["Denoising strength"] = f"{receipt.strength:g}"
    settings |= build_mask_settings(receipt) | list_hires_settings(receipt)
    if receipt.clip_skip:
        settings["Clip skip"] = receipt.clip_skip + 1
    if receipt.step_cache:
        settings["Step cache"] = f"{receipt.step_cache:g}"
    settings |= dict(list_control_settings(receipt)) | list_detail_settings(receipt)
    if receipt.loras:
        hashes = ", ".join(f"{used.lora}: {used.sha256[:12]}" for used in receipt.loras)
        settings["Lora hashes"] = f'"{hashes}"'
    return settings


def list_control_settings(receipt: Receipt) -> Iterator[tuple[str, str]]:
    """Yields the settings of each control as the web UI's ControlNet extension writes them."""
    for number, used in enumerate(receipt.controls):
        settings = {
            "Module": used.preprocessor,
            "Model": f"{used.controlnet} [{used.sha256[:CONTROLNET_HASH_DIGITS]}]",
            "Weight": f"{used.weight:g}",
            "Guidance Start": f"{used.start:g}",
            "Guidance End": f"{used.end:g}",
            "Control Mode": CONTROL_MODES[used.mode],
        }
        yield f"ControlNet {number}", '"' + ", ".join(f"{name}: {value}" for name, value in settings.items()) + '"'


def build_mask_settings(receipt: Receipt) -> dict[str, Any]:
    """Returns the settings of the mask under the web UI's names: those that are not its defaults, and the blur."""
    if receipt.mask_image is None:
        return {}
    settings: dict[str, Any] = {"Mask blur": receipt.mask_blur}
    if receipt.mask_invert:
        settings["Mask mode"] = "Inpaint not masked"
    if receipt.mask_area == "masked":
        settings |= {"Inpaint area": "Only masked", "Masked area padding": receipt.mask_padding}
    if (content := MASKED_CONTENT.get(receipt.mask_fill or "original")) is not None:
        settings["Masked content"] = content
    return settings


def list_hires_settings(receipt: Receipt) -> dict[str, object]:
    """Returns the settings of the second pass. The web UI has one strength, which is then that of the second pass."""
    if receipt.hires_scale == 1:
        return {}
    name = "Denoising strength" if receipt.strength is None else "Hires denoising strength"
    return {
        name: f"{receipt.hires_strength:g}",
        "Hires upscale": f"{receipt.hires_scale:g}",
        **({"Hires steps": receipt.hires_steps} if receipt.hires_steps else {}),
        "Hires upscaler": receipt.hires_upscaler,
    }


def list_detail_settings(receipt: Receipt) -> dict[str, object]:
    """Returns the settings of the detail stage as the web UI's ADetailer extension writes them."""
    if receipt.detail_detector is None:
        return {}
    texts = {"model classes": receipt.detail_label, "prompt": receipt.detail_prompt}
    settings = {
        "model": receipt.detail_detector,
        **{name: json.dumps(text, ensure_ascii=False) for name, text in texts.items() if text},
        "confidence": f"{receipt.detail_confidence:g}",
        "denoising strength": f"{receipt.detail_strength:g}",
        "inpaint only masked": True,
        "inpaint padding": receipt.detail_padding,
    }
    return {f"ADetailer {name}": value for name, value in settings.items()}


def list_upscaling_settings(receipt: Receipt) -> dict[str, object]:
    """Returns the settings with which the web UI's extras make a picture larger."""
    if receipt.upscaler is None:
        return {}
    return {"Postprocess upscale by": f"{receipt.scale:g}", "Postprocess upscaler": receipt.upscaler}
