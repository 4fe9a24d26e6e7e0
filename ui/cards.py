"""What is known of a model or an adapter, as HTML. Whatever comes from outside is escaped here."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from imagegen.errors import in_words
from imagegen.info import AdapterInfo, ModelStatus

GUIDANCE = {"classifier-free": "yes", "true": "yes", "embedded": "yes, without negative prompt", "none": "none needed"}


def model(status: ModelStatus) -> str:
    info, can = status.model, status.model.can
    abilities = {
        "text to image": can.text_to_image,
        "image to image": can.image_to_image,
        "negative prompt": can.negative_prompt,
        "weighted words": can.weighted_prompt,
        "clip skip": can.clip_skip,
        "step cache": can.step_cache,
        "LoRAs": can.loras,
        "embeddings": can.embeddings,
        "previews": can.previews,
    }
    facts = {
        "State": status.state,
        "Family": info.family,
        "Built like": info.architecture if info.architecture != info.family else None,
        "Size": f"{info.width} \N{MULTIPLICATION SIGN} {info.height}, up to {can.max_side}",
        "Steps": str(info.steps),
        "Guidance": GUIDANCE[can.guidance],
        "LoRAs": ", ".join(f"{use.lora} {use.weight:g}" for use in info.loras) or None,
        "Samplers": ", ".join(can.samplers),
        "Memory": f"{info.memory_gb:g} GB" if info.memory_gb else None,
        "Download": f"{info.download_gb:g} GB" if info.download_gb else None,
        "Stored in": info.quantization,
        "Repository": info.repository,
        "Revision": info.revision and info.revision[:12],
        "Licence": info.licence,
        "Access": "its terms must be accepted on its page" if info.gated else None,
    }
    marks = "".join(f'<li class="{"can" if able else "cannot"}">{name}</li>' for name, able in abilities.items())
    return f'<p class="prompt">{escape(info.name)}</p><ul class="abilities">{marks}</ul>{listed(facts)}'


def adapter(info: AdapterInfo) -> str:
    facts = {
        "Kind": "LoRA" if info.kind == "lora" else "embedding",
        "Made for": info.architecture,
        "Say": ", ".join(info.trigger) or None,
        "Base model": info.base_model,
        "Size": in_words(info.size),
        "Licence": info.licence,
        "Name in requests": info.id,
    }
    about = f'<p class="about">{escape(info.description)}</p>' if info.description else ""
    return f'<p class="prompt">{escape(info.name)}</p>{about}{listed(facts)}'


def listed(facts: Mapping[str, str | None]) -> str:
    rows = (f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items() if value)
    return f"<dl>{''.join(rows)}</dl>"
