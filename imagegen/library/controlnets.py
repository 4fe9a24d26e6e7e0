"""ControlNets: those shipped, those in the models folder, and those in the Hub's caches."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagegen.errors import UnusableModel
from imagegen.library.controlnet_architectures import (
    UnknownControlNet,
    detect_controlnet_architecture,
    list_control_modes,
    list_control_types,
)
from imagegen.library.network_index import NetworkIndex
from imagegen.library.weight_files import SafetensorsHeader
from imagegen.schema.controls import Preprocessor

# What the names of ControlNets say of their control maps.
PREPROCESSOR_WORDS: Mapping[str, Preprocessor] = {
    "canny": "canny",
    "edges": "canny",
    "softedge": "softedge",
    "hed": "softedge",
    "scribble": "scribble",
    "tile": "tile",
    "gray": "gray",
    "grey": "gray",
    "recolor": "gray",
    "color": "color",
}


class ControlNetIndex(NetworkIndex):
    """All ControlNets."""

    def _find_facts(self, reference: str, path: Path, header: SafetensorsHeader) -> dict[str, Any]:
        try:
            architecture = detect_controlnet_architecture(header)
        except UnknownControlNet as error:
            raise UnusableModel(reference, str(error), self.kind) from None
        return {
            "architecture": architecture,
            "preprocessor": find_preprocessor(reference),
            "control_types": list_control_types(header.shapes),
            "control_modes": list_control_modes(architecture),
        }


def find_preprocessor(reference: str) -> Preprocessor | None:
    """Returns the preprocessor that the name of a ControlNet speaks of, None if it names none."""
    words = set(re.split(r"[^a-z]+", reference.lower()))
    return next((name for word, name in PREPROCESSOR_WORDS.items() if word in words), None)
