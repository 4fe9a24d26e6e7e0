"""Reads a detector from disk."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from imagegen.engine.detectors.mtcnn import read_face_detector
from imagegen.engine.detectors.transformers_detector import read_transformers_detector
from imagegen.engine.models.network_cache import NetworkKind
from imagegen.library.detectors import is_shipped_network
from imagegen.schema.models import AdapterSource


def read_detector(source: AdapterSource) -> tuple[nn.Module, Mapping[str, Tensor]]:
    """Returns a Detector, and its weights. Raises OSError, ValueError, and what safetensors and transformers raise."""
    if is_shipped_network(source):
        return read_face_detector(source)
    detector = read_transformers_detector(source)
    return detector, detector.state_dict()


def choose_detector_dtype(_: AdapterSource, __: torch.dtype) -> torch.dtype:
    """Returns float32: detectors are small, and their boxes are inexact in half precision."""
    return torch.float32


DETECTORS = NetworkKind(read_detector, choose_dtype=choose_detector_dtype)
