"""What the web UI lets a prompt say besides words: LoRAs as `<lora:name:weight>`, embeddings by their names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from imagegen.errors import InvalidRequest, shortened
from imagegen.info import AdapterInfo

NETWORK = re.compile(r"<(\w{1,40}):([^<>]{1,400})>")
LORA = ("lora", "lyco")


def networks(prompt: str) -> tuple[str, list[dict[str, object]]]:
    """The words of a prompt, and the LoRAs in it. Raises InvalidRequest."""
    loras = [lora(kind, said) for kind, said in NETWORK.findall(prompt)]
    return NETWORK.sub("", prompt).strip() if loras else prompt, loras


def lora(kind: str, said: str) -> dict[str, object]:
    name, *weights = said.split(":")
    if kind.casefold() not in LORA:
        raise InvalidRequest("prompt", f"must not contain <{kind}:…>: only <lora:name:weight> can be put on")
    if len(weights) > 1:
        raise InvalidRequest("prompt", f"{shortened(name)!r} may have one weight, as in <lora:name:weight>")
    return {"lora": name, "weight": weight(weights[0]) if weights else 1.0}


def weight(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InvalidRequest("prompt", "weight in <lora:name:weight> must be a number")
    return value


def called_up(words: str, embeddings: Iterable[AdapterInfo], architecture: str | None) -> list[str]:
    """Those made for an architecture whose name is among the words."""
    fitting = (each for each in embeddings if each.architecture == architecture)
    return [each.id for each in fitting if any(is_in(words, name) for name in each.trigger)]


def is_in(words: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", words, re.IGNORECASE) is not None
