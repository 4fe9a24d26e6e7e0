"""Poses of persons, by a ViTPose (Xu et al. 2022, https://arxiv.org/abs/2204.12484), drawn as OpenPose draws them.

A detector finds the persons; the network looks at each in a frame of its own, and says how likely each joint is where.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from imagegen.engine.detectors.detection import Detector
from imagegen.engine.preprocessors.networks import LearnedPreprocessor

PERSON, CONFIDENCE = "person", 0.5
# How much wider than the person the frame is, and how likely a joint must be to be drawn, as in ViTPose's demos.
PADDING, JOINT_CONFIDENCE = 1.25, 0.3
# The numbers of the network's joints (those of COCO) in the order of OpenPose, where the second, the neck, is between
# the shoulders: nose, neck, right shoulder, elbow and wrist, left ones, right hip, knee and ankle, left ones, right
# and left eye, right and left ear.
JOINTS = (0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
LEFT_SHOULDER, RIGHT_SHOULDER = 5, 6
# The limbs, as pairs of places in JOINTS. The colours of limbs and joints go around the circle of hues; limbs are
# darker. ControlNets for poses were trained with these (draw_bodypose in https://github.com/lllyasviel/ControlNet).
LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),
    *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
HUES = len(JOINTS)
LIMB_SHARE = 0.6
# Pixels of half a limb's width, in a picture whose shorter side is 512.
WIDTH, WIDTH_SIDE = 4, 512

Point = tuple[float, float]


@dataclass(frozen=True)
class Frame:
    """The part of a picture that the network looks at: its middle, its width and its height in pixels."""

    middle: Point
    width: float
    height: float


class PosePreprocessor(LearnedPreprocessor):
    """Its processor says the mean and the deviation of pictures."""

    @torch.no_grad()
    def make(self, image: Image.Image, *others: Any) -> Image.Image:
        """Returns the poses of the persons that a detector, the one of `others`, finds in an RGB picture, on black."""
        detector: Detector
        (detector,) = others
        found = [each for each in detector.detect(image, CONFIDENCE) if each.label == PERSON]
        poses = [self.find_joints(image, build_frame(each.box, *self._get_size())) for each in found]
        return draw_poses(poses, image.size)

    def find_joints(self, image: Image.Image, frame: Frame) -> list[Point | None]:
        """Returns the joints of the person in a frame, in the order of JOINTS; None for those that are not seen."""
        width, height = self._get_size()
        pixels = torch.from_numpy(np.asarray(cut_frame(image, frame, width, height), np.float32) / 255)
        mean, deviation = (torch.tensor(getattr(self.processor, name)) for name in ("image_mean", "image_std"))
        rows = ((pixels - mean) / deviation).permute(2, 0, 1).unsqueeze(0)
        output = self.network(pixel_values=rows.to(self.network.device))
        points = [find_peak(each, frame) for each in output.heatmaps[0].float().cpu()]
        return [find_neck(points) if number is None else points[number] for number in JOINTS]

    def _get_size(self) -> tuple[int, int]:
        """Returns the width and the height of the pictures that the network looks at, in pixels."""
        height, width = self.network.config.backbone_config.image_size
        return width, height


def build_frame(box: Sequence[float], width: int, height: int) -> Frame:
    """Returns the frame around a box (left, top, right, bottom), in the proportions of what the network looks at."""
    left, top, right, bottom = box
    unit = max((right - left) / width, (bottom - top) / height) * PADDING
    return Frame(((left + right) / 2, (top + bottom) / 2), unit * width, unit * height)


def cut_frame(image: Image.Image, frame: Frame, width: int, height: int) -> Image.Image:
    """Returns the part of a picture in a frame, in this size. The first and the last pixels are on the frame's edges.

    Black is around the picture.
    """
    scales = frame.width / (width - 1), frame.height / (height - 1)
    offsets = [
        middle - side / 2 + (1 - scale) / 2
        for middle, side, scale in zip(frame.middle, (frame.width, frame.height), scales, strict=True)
    ]
    matrix = (scales[0], 0, offsets[0], 0, scales[1], offsets[1])
    return image.transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def find_peak(heatmap: Tensor, frame: Frame) -> Point | None:
    """Returns where a joint is most likely, in pixels of the picture; None if it is not likely anywhere.

    Between the places of the heatmap it is a quarter of a step towards the more likely neighbour (Newell et al. 2016,
    https://arxiv.org/abs/1603.06937).
    """
    height, width = heatmap.shape
    row, column = divmod(int(heatmap.argmax()), width)
    if heatmap[row, column] < JOINT_CONFIDENCE:
        return None
    x, y = float(column), float(row)
    if 0 < column < width - 1:
        x += 0.25 * float((heatmap[row, column + 1] - heatmap[row, column - 1]).sign())
    if 0 < row < height - 1:
        y += 0.25 * float((heatmap[row + 1, column] - heatmap[row - 1, column]).sign())
    return (
        frame.middle[0] + (x / (width - 1) - 0.5) * frame.width,
        frame.middle[1] + (y / (height - 1) - 0.5) * frame.height,
    )


def find_neck(points: Sequence[Point | None]) -> Point | None:
    """Returns the point between the shoulders, None unless both are seen."""
    left, right = points[LEFT_SHOULDER], points[RIGHT_SHOULDER]
    return None if left is None or right is None else ((left[0] + right[0]) / 2, (left[1] + right[1]) / 2)


def get_color(place: int) -> tuple[int, int, int]:
    """Returns the colour of a joint or a limb: a step of the circle of hues from red, over green and blue."""
    position = place * 6 / HUES
    rising, part = round(255 * (position % 1)), int(position)
    colors = (
        *((255, rising, 0), (255 - rising, 255, 0), (0, 255, rising)),
        *((0, 255 - rising, 255), (rising, 0, 255), (255, 0, 255 - rising)),
    )
    return colors[part]


def draw_poses(poses: Sequence[Sequence[Point | None]], size: tuple[int, int]) -> Image.Image:
    """Returns poses, each with its joints in the order of JOINTS, as limbs and joints in their colours on black."""
    picture = Image.new("RGB", size)
    pen = ImageDraw.Draw(picture)
    width = WIDTH * min(size) / WIDTH_SIDE
    for number, (start, end) in enumerate(LIMBS):
        color = tuple(int(level * LIMB_SHARE) for level in get_color(number))
        for pose in poses:
            first, second = pose[start], pose[end]
            if first is not None and second is not None:
                pen.polygon(outline_limb(first, second, width), fill=color)
    for place in range(len(JOINTS)):
        for pose in poses:
            point = pose[place]
            if point is not None:
                x, y = point
                pen.ellipse((x - width, y - width, x + width, y + width), fill=get_color(place))
    return picture


def outline_limb(start: Point, end: Point, width: float) -> list[Point]:
    """Returns the outline of an ellipse from one joint to another, whose other half axis is `width` pixels."""
    middle = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    across, down = (end[0] - start[0]) / 2, (end[1] - start[1]) / 2
    length = max(math.hypot(across, down), 1e-6)
    angles = [2 * math.pi * step / 36 for step in range(36)]
    return [
        (
            middle[0] + across * math.cos(angle) - down / length * width * math.sin(angle),
            middle[1] + down * math.cos(angle) + across / length * width * math.sin(angle),
        )
        for angle in angles
    ]
