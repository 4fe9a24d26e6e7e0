"""What prompt.js must know of the chosen model, as HTML that is not shown."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from typing import Any

from imagegen.languages.translation import mark
from imagegen.schema.field_types import MAX_PROMPT_CHARS
from imagegen.schema.models import AdapterInfo, AdapterKind, ModelInfo

LABELS: dict[AdapterKind, str] = {"lora": mark("LoRA"), "embedding": mark("Embedding")}


def render_prompt_facts(model: ModelInfo, adapters: Iterable[AdapterInfo]) -> str:
    """Returns the model's id, how many characters a prompt can have, and the names of the adapters that fit it."""
    names = [describe_adapter(adapter) for adapter in adapters]
    facts = {"model": model.id, "longest": MAX_PROMPT_CHARS, "adapters": names}
    return f'<span hidden data-facts="{escape(json.dumps(facts, ensure_ascii=False))}"></span>'


def describe_adapter(adapter: AdapterInfo) -> dict[str, Any]:
    """Returns what the list shows of an adapter, and `words`: what it puts into the prompt."""
    return {
        "kind": adapter.kind,
        "id": adapter.id,
        "label": LABELS[adapter.kind],
        "names": list(dict.fromkeys((adapter.name, adapter.id, *adapter.trigger))),
        "words": adapter.trigger[0] if adapter.trigger else "",
    }
