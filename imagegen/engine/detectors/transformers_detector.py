"""Detectors of transformers, which find all objects of a picture in one call."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import nn
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil
from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

from imagegen.engine.detectors.detection import Detection
from imagegen.engine.models.transformers_network import create_processor, read_transformers_network
from imagegen.schema.models import AdapterSource


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
    is_yolos = source.architecture.startswith("Yolos")
    processor_class: Any = YolosImageProcessorPil if is_yolos else RTDetrImageProcessorPil
    return TransformersDetector(read_transformers_network(source), create_processor(source, processor_class))
