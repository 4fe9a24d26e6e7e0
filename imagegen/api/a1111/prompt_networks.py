"""Adapters in the prompt, as the web UI has them: LoRAs as `<lora:name:weight>`, embeddings by their names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from imagegen.errors import InvalidRequest
from imagegen.schema.models import AdapterInfo
from imagegen.text import truncate

NETWORK_PATTERN = re.compile(r"<(\w{1,40}):([^<>]{1,400})>")
LORA_KINDS = ("lora", "lyco")


def extract_loras(prompt: str) -> tuple[str, list[dict[str, object]]]:
    """Returns the prompt without its LoRA tags, and the LoRAs as fields of a request. Raises InvalidRequest."""
    loras = [parse_lora(kind, text) for kind, text in NETWORK_PATTERN.findall(prompt)]
    return NETWORK_PATTERN.sub("", prompt).strip() if loras else prompt, loras


def parse_lora(kind: str, text: str) -> dict[str, object]:
    """Raises InvalidRequest."""
    name, *weights = text.split(":")
    if kind.casefold() not in LORA_KINDS:
        raise InvalidRequest("prompt", f"must not contain <{kind}:…>: only <lora:name:weight> is supported")
    if len(weights) > 1:
        raise InvalidRequest("prompt", f"{truncate(name)!r} may have one weight, as in <lora:name:weight>")
    return {"lora": name, "weight": parse_weight(weights[0]) if weights else 1.0}


def parse_weight(text: str) -> float:
    """Raises InvalidRequest."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InvalidRequest("prompt", "weight in <lora:name:weight> must be a number")
    return value


def match_embeddings(prompt: str, embeddings: Iterable[AdapterInfo], architecture: str | None) -> list[str]:
    """Returns the ids of the embeddings for an architecture whose trigger word is in the prompt."""
    compatible = (each for each in embeddings if each.architecture == architecture)
    return [each.id for each in compatible if any(has_word(prompt, name) for name in each.trigger)]


def has_word(prompt: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", prompt, re.IGNORECASE) is not None
