"""Networks that make control maps, such as depth: those in the models folder, and those in the Hub's caches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagegen.errors import InvalidRequest, NotOnDisk, UnusableModel
from imagegen.library.adapters import AdapterIndex
from imagegen.library.detectors import (
    BACKBONE_SETTINGS,
    MAX_PICTURE_SIDE,
    find_picture_side,
    read_class_name,
)
from imagegen.library.network_index import PROCESSOR_FILE, NetworkIndex, has_config, read_network_config
from imagegen.library.weight_files import SafetensorsHeader
from imagegen.schema.controls import Preprocessor
from imagegen.schema.models import AdapterSource

# Classes of transformers that need no other package, and the preprocessors that they are for.
PREPROCESSOR_BY_CLASS: Mapping[str, Preprocessor] = {
    "DPTForDepthEstimation": "depth",
    "DepthAnythingForDepthEstimation": "depth",
    "SegformerForSemanticSegmentation": "segmentation",
    "UperNetForSemanticSegmentation": "segmentation",
    "VitPoseForPoseEstimation": "pose",
}
# A model on the Hub for each.
EXAMPLES: Mapping[Preprocessor, str] = {
    "depth": "depth-anything/Depth-Anything-V2-Small-hf",
    "segmentation": "nvidia/segformer-b0-finetuned-ade-512-512",
    "pose": "usyd-community/vitpose-base-simple",
}
# What finds the persons whose poses are drawn, and an example.
PERSON, DETECTOR_EXAMPLE = "person", "PekingU/rtdetr_r18vd"
# The joints of COCO.
JOINTS = 17
# How many classes ADE20K has, by whose colours ControlNets know segments.
SEGMENT_CLASSES = 150


class PreprocessorIndex(NetworkIndex):
    """All networks for preprocessors: folders with a configuration. Their architecture is the class of the network."""

    def _find_facts(self, reference: str, path: Path, header: SafetensorsHeader) -> dict[str, Any]:
        if not has_config(path):
            if not any(path.is_relative_to(folder) for folder in self.folders):
                raise NotOnDisk(reference, self.kind)  # Its weights alone were downloaded, as something else.
            raise UnusableModel(reference, "it has no configuration: a preprocessor is a folder with one", self.kind)
        config = read_network_config(path)
        class_name = read_class_name(config)
        if class_name is None or class_name not in PREPROCESSOR_BY_CLASS:
            known = ", ".join(PREPROCESSOR_BY_CLASS)
            raise UnusableModel(reference, f"it is none of the networks that can be used: {known}", self.kind)
        problem = find_problem(config, PREPROCESSOR_BY_CLASS[class_name], path.with_name(PROCESSOR_FILE))
        if problem is not None:
            raise UnusableModel(reference, problem, self.kind)
        return {"architecture": class_name, "preprocessor": PREPROCESSOR_BY_CLASS[class_name]}

    def get_source_for(self, preprocessor: Preprocessor) -> AdapterSource:
        """Returns the network for a preprocessor: the first on disk, by its id.

        Reads the whole file once, for its SHA-256. Raises InvalidRequest if there is none.
        """
        found = [each.info.id for each in self.list_available() if each.info.preprocessor == preprocessor]
        if not found:
            known = ", ".join(name for name, made in PREPROCESSOR_BY_CLASS.items() if made == preprocessor)
            raise InvalidRequest(
                "preprocessor",
                f"{preprocessor} needs a network in the folder preprocessors of the models folder, or from the Hub:"
                f" one of {known}, such as {EXAMPLES[preprocessor]}",
            )
        return self.get_source(min(found))


def find_problem(config: Mapping[str, Any], preprocessor: Preprocessor, processor_file: Path) -> str | None:
    """Returns what is wrong with a configuration, None if nothing is. Raises OSError and ValueError."""
    backbone = next((name for name in BACKBONE_SETTINGS if config.get(name)), None)
    if backbone is not None:
        return f"a part of its network is elsewhere, as {backbone} says"
    if find_picture_side(processor_file) > MAX_PICTURE_SIDE:
        return f"{PROCESSOR_FILE}: size must be at most {MAX_PICTURE_SIDE:,}"
    names = config.get("id2label")
    count = len(names) if isinstance(names, dict) else 0
    if preprocessor == "segmentation" and count != SEGMENT_CLASSES:
        return f"it knows {count} classes instead of the {SEGMENT_CLASSES} of ADE20K"
    if preprocessor == "pose" and count != JOINTS:
        return f"it knows {count} joints instead of the {JOINTS} of COCO"
    if (config.get("backbone_config") or {}).get("num_experts", 1) != 1:
        return "it has several experts, which is not supported"
    return None


def find_person_detector(detectors: AdapterIndex) -> AdapterSource:
    """Returns the first detector of persons on disk, as a network for preprocessors. Raises InvalidRequest for none."""
    found = [each.info.id for each in detectors.list_available() if PERSON in each.info.labels]
    if not found:
        problem = f"pose needs a detector of persons in the folder detectors, too, such as {DETECTOR_EXAMPLE}"
        raise InvalidRequest("preprocessor", problem)
    return detectors.get_source(min(found)).model_copy(update={"kind": "preprocessor"})
