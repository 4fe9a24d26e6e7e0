"""What control_units.js must know of the chosen model, as HTML that is not shown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from html import escape

from imagegen.languages.translation import mark, translate
from imagegen.schema.controls import MAX_CONTROLS, ControlMode, ControlType, Preprocessor
from imagegen.schema.models import AdapterInfo

PREPROCESSOR_LABELS: Mapping[Preprocessor, str] = {
    "none": mark("None: it is a control map"),
    "canny": mark("Edges (Canny)"),
    "softedge": mark("Soft edges"),
    "scribble": mark("Scribble"),
    "gray": mark("Grey"),
    "tile": mark("Tile: without details"),
    "color": mark("Grid of colours"),
    "invert": mark("Invert"),
    "depth": mark("Depth"),
    "segmentation": mark("Segments"),
    "pose": mark("A pose"),
}
MODE_LABELS: Mapping[ControlMode, str] = {
    "balanced": mark("Both alike"),
    "prompt": mark("The prompt"),
    "control": mark("The picture to follow"),
}
TYPE_LABELS: Mapping[ControlType, str] = {
    "canny": mark("Edges"),
    "softedge": mark("Soft edges"),
    "depth": mark("Depth"),
    "normal": mark("Normals"),
    "pose": mark("A pose"),
    "segmentation": mark("Segments"),
    "tile": mark("A picture without details"),
    "blur": mark("A blurred picture"),
    "gray": mark("A grey picture"),
    "low_quality": mark("A picture of low quality"),
}


def render_control_facts(controlnets: Iterable[AdapterInfo]) -> str:
    """Returns the ControlNets that fit the model, with the preprocessor for each, and what can be chosen."""
    facts = {
        "controlnets": [
            {
                "id": each.id,
                "name": each.name,
                "preprocessor": each.preprocessor or "none",
                "types": each.control_types,
                "modes": each.control_modes,
            }
            for each in controlnets
        ],
        "preprocessors": [(name, translate(label)) for name, label in PREPROCESSOR_LABELS.items()],
        "types": [(name, translate(label)) for name, label in TYPE_LABELS.items()],
        "modes": [(name, translate(label)) for name, label in MODE_LABELS.items()],
        "most": MAX_CONTROLS,
    }
    return f'<span hidden data-facts="{escape(json.dumps(facts, ensure_ascii=False))}"></span>'
