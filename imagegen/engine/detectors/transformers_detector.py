"""Detectors of transformers, which find all objects of a picture in one call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from torch import nn
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil
from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

from imagegen.engine.detectors.detection import Detection
from imagegen.engine.log_filters import suppress_messages
from imagegen.engine.models.loading import disable_progress_bars
from imagegen.engine.models.safe_configs import open_safe_folder, remove_code
from imagegen.library.network_index import PROCESSOR_FILE
from imagegen.schema.models import AdapterSource
from imagegen.text import truncate


class TransformersDetector(nn.Module):
    """A network for object detection, and how pictures are prepared for it."""

    def __init__(self, network: Any, processor: Any) -> None:
        super().__init__()
        self.network, self.processor = network, processor

    @torch.no_grad()
    def detect(self, image: Image.Image, confidence: float) -> list[Detection]:
        """See Detector."""
        inputs = self.processor(images=image, return_tensors="pt").to(self.network.device)
        outputs = self.network(pixel_values=inputs["pixel_values"])
        sizes = torch.tensor([(image.height, image.width)], device=self.network.device)
        (found,) = self.processor.post_process_object_detection(outputs, confidence, sizes)
        names = self.network.config.id2label
        return [
            Detection(tuple(box), names[label])
            for box, label in zip(found["boxes"].tolist(), found["labels"].tolist(), strict=True)
        ]


def read_transformers_detector(source: AdapterSource) -> TransformersDetector:
    """Returns a detector in main memory.

    Raises OSError, and ValueError for weights that are not those of its configuration.
    """
    network_class = getattr(transformers, source.architecture)
    with (
        open_safe_folder(source.path.parent) as folder,
        disable_progress_bars(),
        suppress_messages("transformers.modeling_utils", ""),  # Of tensors, which are checked below.
        suppress_messages("transformers.utils.loading_report", ""),
    ):
        network, facts = network_class.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if facts[problem]:
            name = truncate(min(map(str, facts[problem])))
            raise ValueError(f"its tensors are not those of its configuration: {problem.replace('_', ' ')} {name}")
    return TransformersDetector(network, create_processor(source.path.with_name(PROCESSOR_FILE), source.architecture))


def create_processor(file: Path, architecture: str) -> Any:
    """Returns what prepares pictures. Without a file, it is as the detectors of this class were trained."""
    processor_class: Any = YolosImageProcessorPil if architecture.startswith("Yolos") else RTDetrImageProcessorPil
    return processor_class.from_dict(remove_code(json.loads(file.read_bytes())) if file.is_file() else {})
