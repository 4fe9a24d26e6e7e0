"""Reads a learned preprocessor from disk."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil
from transformers.models.vitpose.image_processing_pil_vitpose import VitPoseImageProcessorPil

from imagegen.engine.detectors.loading import read_detector
from imagegen.engine.models.network_cache import NetworkKind
from imagegen.engine.models.transformers_network import create_processor, read_transformers_network
from imagegen.engine.preprocessors.networks import DepthPreprocessor, LearnedPreprocessor, SegmentationPreprocessor
from imagegen.engine.preprocessors.pose import PosePreprocessor
from imagegen.library.preprocessor_models import PREPROCESSOR_BY_CLASS
from imagegen.schema.controls import Preprocessor
from imagegen.schema.models import AdapterSource

# By what they make: the module, and what prepares pictures for it.
NETWORKS: Mapping[Preprocessor, tuple[type[LearnedPreprocessor], type]] = {
    "depth": (DepthPreprocessor, DPTImageProcessorPil),
    "segmentation": (SegmentationPreprocessor, SegformerImageProcessorPil),
    "pose": (PosePreprocessor, VitPoseImageProcessorPil),
}


def read_preprocessor(source: AdapterSource) -> tuple[nn.Module, Mapping[str, Tensor]]:
    """Returns a LearnedPreprocessor or a detector that one needs, and its weights. Raises OSError and ValueError."""
    if source.architecture not in PREPROCESSOR_BY_CLASS:
        return read_detector(source)
    module_class, processor_class = NETWORKS[PREPROCESSOR_BY_CLASS[source.architecture]]
    network = read_transformers_network(source, module_class.unused_parts)
    module = module_class(network, create_processor(source, processor_class))
    return module, module.state_dict()


def choose_preprocessor_dtype(_: AdapterSource, __: torch.dtype) -> torch.dtype:
    """Returns float32: these networks are small, and maps have steps in half precision."""
    return torch.float32


PREPROCESSOR_NETWORKS = NetworkKind(read_preprocessor, choose_dtype=choose_preprocessor_dtype)
