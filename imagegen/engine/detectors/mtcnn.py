"""The detector of faces that is shipped: three small networks, of which each checks what the one before proposes.

K. Zhang, Z. Zhang, Z. Li and Y. Qiao, "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional
Networks", 2016 (https://arxiv.org/abs/1604.02878). The weights and the procedure are those of facenet-pytorch 2.6.0
(https://github.com/timesler/facenet-pytorch, models/mtcnn.py and models/utils/detect_face.py), MIT, Copyright (c) 2019
Timothy Esler. Boxes are tensors of shape (n, 4): left, top, right and bottom in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from imagegen.engine.detectors.detection import Detection
from imagegen.schema.models import AdapterSource

LABEL = "face"
# The smallest face, in pixels of a side, and what a side is multiplied with from one size of the picture to the next.
MIN_FACE_SIDE, PYRAMID_FACTOR = 20, 0.709
# What the first network looks at in one place, and the distance of the places, in pixels.
CELL, STRIDE = 12, 2
# The sides of the pictures that the second and the third network look at.
REFINE_SIDE, OUTPUT_SIDE = 24, 48
# The confidence that the first two networks must have.
PROPOSAL_CONFIDENCE, REFINE_CONFIDENCE = 0.6, 0.7
# Pictures in one call of a network.
MAX_ROWS = 512


class ProposalNetwork(nn.Module):
    """Looks at each place of a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the corrections of boxes (1, 4, rows, columns) and the confidences (rows, columns)."""
        features = F.max_pool2d(self.prelu1(self.conv1(pixels)), 2, 2, ceil_mode=True)
        features = self.prelu3(self.conv3(self.prelu2(self.conv2(features))))
        return self.conv4_2(features), self.conv4_1(features).softmax(1)[0, 1]


class RefineNetwork(nn.Module):
    """Looks at proposals."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the corrections of boxes (n, 4) and the confidences (n)."""
        features = F.max_pool2d(self.prelu1(self.conv1(pixels)), 3, 2, ceil_mode=True)
        features = F.max_pool2d(self.prelu2(self.conv2(features)), 3, 2, ceil_mode=True)
        features = self.prelu4(self.dense4(flatten(self.prelu3(self.conv3(features)))))
        return self.dense5_2(features), self.dense5_1(features).softmax(1)[:, 1]


class OutputNetwork(nn.Module):
    """Looks at what is left, and decides."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2 = nn.Linear(256, 2), nn.Linear(256, 4)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the corrections of boxes (n, 4) and the confidences (n)."""
        features = F.max_pool2d(self.prelu1(self.conv1(pixels)), 3, 2, ceil_mode=True)
        features = F.max_pool2d(self.prelu2(self.conv2(features)), 3, 2, ceil_mode=True)
        features = F.max_pool2d(self.prelu3(self.conv3(features)), 2, 2, ceil_mode=True)
        features = self.prelu5(self.dense5(flatten(self.prelu4(self.conv4(features)))))
        return self.dense6_2(features), self.dense6_1(features).softmax(1)[:, 1]


class FaceDetector(nn.Module):
    """Finds faces from MIN_FACE_SIDE pixels on."""

    def __init__(self) -> None:
        super().__init__()
        self.pnet, self.rnet, self.onet = ProposalNetwork(), RefineNetwork(), OutputNetwork()

    @torch.no_grad()
    def detect(self, image: Image.Image, confidence: float) -> list[Detection]:
        """See Detector."""
        device = next(self.parameters()).device
        pixels = torch.from_numpy(np.array(image.convert("RGB"), np.float32)).permute(2, 0, 1)[None].to(device)
        boxes = self._propose(pixels)
        boxes, _ = self._check(self.rnet, pixels, boxes, REFINE_SIDE, REFINE_CONFIDENCE)
        boxes, scores = self._check(self.onet, pixels, boxes, OUTPUT_SIDE, confidence)
        kept = suppress_overlaps(boxes, scores, 0.7, of_smaller=True)
        return [Detection((left, top, right, bottom), LABEL) for left, top, right, bottom in boxes[kept].tolist()]

    def _propose(self, pixels: Tensor) -> Tensor:
        """Returns boxes in a picture of shape (1, 3, height, width)."""
        found = [self._propose_at(pixels, scale) for scale in list_scales(pixels.shape[2], pixels.shape[3])]
        if not found:
            return pixels.new_empty(0, 4)
        boxes, scores, corrections = (torch.cat(parts) for parts in zip(*found, strict=True))
        kept = suppress_overlaps(boxes, scores, 0.7)
        boxes, corrections = boxes[kept], corrections[kept]
        return boxes + corrections * measure(boxes)

    def _propose_at(self, pixels: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
        """Returns boxes, their confidences and their corrections, of a picture that is made smaller."""
        size = int(pixels.shape[2] * scale + 1), int(pixels.shape[3] * scale + 1)
        corrections, scores = self.pnet(normalize(F.interpolate(pixels, size, mode="area")))
        found = scores >= PROPOSAL_CONFIDENCE
        corner = STRIDE * found.nonzero().flip(1) + 1
        boxes = torch.cat([(corner / scale).floor(), ((corner + CELL - 1) / scale).floor()], dim=1)
        kept = suppress_overlaps(boxes, scores[found], 0.5)
        return boxes[kept], scores[found][kept], corrections[0, :, found].T[kept]

    def _check(
        self, network: nn.Module, pixels: Tensor, boxes: Tensor, side: int, confidence: float
    ) -> tuple[Tensor, Tensor]:
        """Returns the boxes of which a network is sure enough, corrected, with its confidences."""
        squares = make_square(boxes)
        corners = squares.trunc().clamp(min=1)
        corners[:, 2].clamp_(max=pixels.shape[3])
        corners[:, 3].clamp_(max=pixels.shape[2])
        is_inside = (corners[:, 2:] >= corners[:, :2]).all(dim=1)
        squares, corners = squares[is_inside], corners[is_inside]
        if not len(squares):
            return squares, pixels.new_empty(0)
        parts = [network(normalize(rows)) for rows in cut_out(pixels, corners, side)]
        corrections, scores = (torch.cat(each) for each in zip(*parts, strict=True))
        found = scores > confidence
        squares, corrections, scores = squares[found], corrections[found], scores[found]
        kept = suppress_overlaps(squares, scores, 0.7)
        squares, corrections, scores = squares[kept], corrections[kept], scores[kept]
        return squares + corrections * (measure(squares) + 1), scores


def flatten(features: Tensor) -> Tensor:
    """Returns rows of features (n, channels, height, width), columns first, as the weights were trained."""
    return features.permute(0, 3, 2, 1).flatten(1)


def normalize(pixels: Tensor) -> Tensor:
    """Returns numbers of 0..255 in about -1..1."""
    return (pixels - 127.5) / 128


def list_scales(height: int, width: int) -> Iterator[float]:
    """Yields what a picture is multiplied with, so that the first network sees faces of each size."""
    scale = CELL / MIN_FACE_SIDE
    while min(height, width) * scale >= CELL:
        yield scale
        scale *= PYRAMID_FACTOR


def measure(boxes: Tensor) -> Tensor:
    """Returns width, height, width and height of boxes, of shape (n, 4)."""
    return (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)


def make_square(boxes: Tensor) -> Tensor:
    """Returns squares around the middles of boxes, as long as their longer sides."""
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True) / 2
    return torch.cat([middle - half, middle + half], dim=1)


def cut_out(pixels: Tensor, corners: Tensor, side: int) -> Iterator[Tensor]:
    """Yields parts of a picture as squares of `side` pixels, up to MAX_ROWS at a time. Corners count from 1."""
    for first in range(0, len(corners), MAX_ROWS):
        places = corners[first : first + MAX_ROWS].int().tolist()
        yield torch.cat(
            [
                F.interpolate(pixels[:, :, top - 1 : bottom, left - 1 : right], (side, side), mode="area")
                for left, top, right, bottom in places
            ]
        )


def suppress_overlaps(boxes: Tensor, scores: Tensor, limit: float, *, of_smaller: bool = False) -> Tensor:
    """Returns the indices of boxes, the surest first, without those that overlap a surer one by more than `limit`.

    The overlap is the share of what both cover, or with `of_smaller` of the smaller one.
    """
    order, kept = scores.argsort(descending=True), []
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
    while len(order):
        best, others = order[0], order[1:]
        kept.append(best)
        low, high = torch.maximum(boxes[best, :2], boxes[others, :2]), torch.minimum(boxes[best, 2:], boxes[others, 2:])
        common = (high - low).clamp(min=0).prod(1)
        whole = torch.minimum(areas[best], areas[others]) if of_smaller else areas[best] + areas[others] - common
        order = others[common <= limit * whole]
    return torch.stack(kept) if kept else order


def read_face_detector(source: AdapterSource) -> tuple[nn.Module, Mapping[str, Tensor]]:
    """Returns the network without memory, and its weights. Raises what safetensors raises."""
    with torch.device("meta"):
        network = FaceDetector()
    return network, load_file(source.path)
