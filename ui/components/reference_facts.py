"""What reference_pictures.js must know of the chosen model, as HTML that is not shown."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape

from imagegen.schema.models import AdapterInfo, ModelInfo
from imagegen.schema.reference_pictures import MAX_REFERENCES


def render_reference_facts(model: ModelInfo, ip_adapters: Iterable[AdapterInfo]) -> str:
    """Returns whether the model looks at reference pictures, and the IP-Adapters that fit it."""
    facts = {
        "usable": model.can.references,
        "needs_ip_adapter": model.can.ip_adapters,
        "ip_adapters": [{"id": each.id, "name": each.name} for each in ip_adapters],
        "most": MAX_REFERENCES,
    }
    return f'<span hidden data-facts="{escape(json.dumps(facts, ensure_ascii=False))}"></span>'
