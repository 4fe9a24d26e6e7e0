"""Detectors, which find objects in pictures: the shipped one, those in the models folder, those in the Hub's caches."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagegen.errors import NotOnDisk, UnusableModel
from imagegen.library.config_limits import list_values
from imagegen.library.network_index import PROCESSOR_FILE, NetworkIndex, has_config, read_network_config
from imagegen.library.weight_files import SafetensorsHeader
from imagegen.schema.models import AdapterSource

# The id of the shipped detector, and the class of its network.
FACES, MTCNN = "faces", "MTCNN"
# The models for faces of the web UI's ADetailer extension, for which the shipped detector stands.
FACE_MODEL_PATTERN = re.compile(r"face_yolo\w*\.pt|mediapipe_face_(full|short|mesh)")
# Classes of transformers that need no other package.
TRANSFORMERS_DETECTORS = (
    "DFineForObjectDetection",
    "RTDetrForObjectDetection",
    "RTDetrV2ForObjectDetection",
    "YolosForObjectDetection",
)
# Settings that make transformers take a part of the network from elsewhere.
BACKBONE_SETTINGS = ("use_timm_backbone", "use_pretrained_backbone")
# Pixels of a side: known detectors look at pictures of up to 1,333.
MAX_PICTURE_SIDE = 4096


class DetectorIndex(NetworkIndex):
    """All detectors: folders with a configuration. Their architecture is the class of the network."""

    def _find_facts(self, reference: str, path: Path, header: SafetensorsHeader) -> dict[str, Any]:
        if not has_config(path):
            if not any(path.is_relative_to(folder) for folder in self.folders):
                raise NotOnDisk(reference, self.kind)  # Its weights alone were downloaded, as something else.
            raise UnusableModel(reference, "it has no configuration: a detector is a folder with one", self.kind)
        config = read_network_config(path)
        architecture = find_architecture(config)
        if architecture is None:
            known = ", ".join(TRANSFORMERS_DETECTORS)
            raise UnusableModel(reference, f"it is none of the detectors that can be used: {known}", self.kind)
        backbone = next((name for name in BACKBONE_SETTINGS if config.get(name)), None)
        if backbone is not None:
            raise UnusableModel(reference, f"a part of its network is elsewhere, as {backbone} says", self.kind)
        if find_picture_side(path.with_name(PROCESSOR_FILE)) > MAX_PICTURE_SIDE:
            problem = f"{PROCESSOR_FILE}: size must be at most {MAX_PICTURE_SIDE:,}"
            raise UnusableModel(reference, problem, self.kind)
        return {"architecture": architecture, "labels": read_labels(config)}


def find_architecture(config: Mapping[str, Any]) -> str | None:
    """Returns the class of the network in a configuration, None if it is no detector that can be used."""
    name = read_class_name(config)
    return name if name in (MTCNN, *TRANSFORMERS_DETECTORS) else None


def read_class_name(config: Mapping[str, Any]) -> str | None:
    """Returns the class of the network that a configuration of transformers names, None if it names none."""
    architectures = config.get("architectures")
    name = architectures[0] if isinstance(architectures, list) and architectures else None
    return name if isinstance(name, str) else None


def read_labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns what a detector finds, in the order of its classes, each name once."""
    names = config.get("id2label")
    labels = names.values() if isinstance(names, dict) else ()
    return tuple(dict.fromkeys(label for label in labels if isinstance(label, str)))


def find_picture_side(file: Path) -> float:
    """Returns the longest side of the pictures that a detector looks at, 0 if nothing says it.

    Raises OSError and ValueError.
    """
    config = json.loads(file.read_bytes()) if file.is_file() else {}
    sizes = [config[name] for name in config if name.endswith("size")] if isinstance(config, dict) else []
    return max((value for _, value in list_values(sizes) if isinstance(value, int | float)), default=0)


def is_shipped_network(source: AdapterSource) -> bool:
    """Returns whether a detector is of the kind that the studio ships, and none of transformers."""
    return source.architecture == MTCNN
