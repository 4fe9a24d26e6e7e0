"""Poses of persons are drawn where their joints are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional as F

from imagegen.engine.detectors.detection import Detection
from imagegen.engine.engine import Engine
from imagegen.engine.preprocessors.pose import PosePreprocessor
from imagegen.library.detectors import DetectorIndex
from imagegen.library.preprocessor_models import PreprocessorIndex, find_person_detector
from imagegen.library.snapshots import Snapshots
from imagegen.schema.models import AdapterSource
from tests.hub.preprocessors import save_depth_anything, save_person_detector, save_vitpose
from tests.integration.engine_harness import EngineHarness, get_final_image
from tests.integration.test_batching import difference
from tests.integration.test_controls import make_inputs

NOSE, LEFT_SHOULDER, RIGHT_SHOULDER = 0, 5, 6
# A picture in which joints are dots of one colour.
DOTS = {NOSE: (250, 120), LEFT_SHOULDER: (310, 210), RIGHT_SHOULDER: (190, 220)}
COLORS = {NOSE: "#ff0000", LEFT_SHOULDER: "#00ff00", RIGHT_SHOULDER: "#0000ff"}
PICTURE = Image.new("RGB", (512, 640))
for joint, (column, row) in DOTS.items():
    ImageDraw.Draw(PICTURE).ellipse((column - 30, row - 30, column + 30, row + 30), fill=COLORS[joint])


class DotFinder(nn.Module):
    """In the place of a network: a joint is likely where the picture has its colour."""

    config = SimpleNamespace(backbone_config=SimpleNamespace(image_size=(256, 192)))
    device = torch.device("cpu")

    def forward(self, pixel_values: Tensor) -> Any:
        colors = F.interpolate(pixel_values, (64, 48), mode="bilinear", align_corners=True, antialias=False)
        heatmaps = torch.zeros(1, 17, 64, 48)
        for channel, joint in enumerate((NOSE, LEFT_SHOULDER, RIGHT_SHOULDER)):
            # The middle of the dot is where its surroundings have most of the colour.
            likely = colors[:, channel : channel + 1]
            for _ in range(3):
                likely = F.avg_pool2d(likely, 3, 1, 1)
            heatmaps[:, joint] = likely[:, 0]
        return SimpleNamespace(heatmaps=heatmaps)


class OnePerson:
    """In the place of a detector: a person in the same box of each picture, and a hand."""

    def detect(self, image: Image.Image, confidence: float) -> list[Detection]:
        return [Detection((120.0, 60.0, 400.0, 600.0), "person"), Detection((0.0, 0.0, 20.0, 20.0), "hand")]


def find_color(picture: Image.Image, color: tuple[int, int, int]) -> tuple[float, float]:
    """Returns the middle of all pixels of a colour."""
    rows, columns = np.nonzero((np.asarray(picture) == color).all(axis=2))
    assert len(rows), color
    return float(columns.mean()), float(rows.mean())


def test_joints_and_limbs_are_where_the_network_sees_them() -> None:
    processor = SimpleNamespace(image_mean=[0.0, 0.0, 0.0], image_std=[1.0, 1.0, 1.0])
    found = PosePreprocessor(DotFinder(), processor).make(PICTURE, OnePerson())
    # OpenPose paints the nose red, the neck in the second hue of 18, and the shoulders in the third and the sixth.
    expected = {
        (255, 0, 0): DOTS[NOSE],
        (255, 85, 0): (250, 215),
        (255, 170, 0): DOTS[RIGHT_SHOULDER],
        (85, 255, 0): DOTS[LEFT_SHOULDER],
    }
    # A place of the heatmap stands for 11 pixels.
    for color, (x, y) in expected.items():
        assert find_color(found, color) == pytest.approx((x, y), abs=6)
    # The limbs from the neck to the shoulders and to the nose, and no others, in darker colours.
    limbs = [(153, 0, 0), (153, 51, 0), (0, 0, 153)]
    for color, other in zip(limbs, (DOTS[RIGHT_SHOULDER], DOTS[LEFT_SHOULDER], DOTS[NOSE]), strict=True):
        middle = (250 + other[0]) / 2, (215 + other[1]) / 2
        assert find_color(found, color) == pytest.approx(middle, abs=8)
    colors = {color for _, color in found.getcolors(1000) or ()}
    assert colors == {(0, 0, 0), *expected, *limbs}


def get_sources(folder: Path) -> list[AdapterSource]:
    save_vitpose(folder / "preprocessors" / "pose")
    save_person_detector(folder / "detectors" / "persons")
    snapshots = Snapshots(folder / "hub")
    pose = PreprocessorIndex("preprocessor", (folder / "preprocessors",), snapshots).get_source_for("pose")
    return [pose, find_person_detector(DetectorIndex("detector", (folder / "detectors",), snapshots))]


def test_a_pose_is_drawn_where_the_detector_finds_a_person(engine: Engine, tmp_path: Path) -> None:
    found = engine.make_map(get_sources(tmp_path), PICTURE.resize((256, 320)))
    assert found.size == (256, 320)
    box = found.getbbox()
    assert box is not None and len(found.getcolors(10000) or ()) > 10
    # A frame around the middle half of the width and four fifths of the height: 240 by 320 pixels.
    assert box[0] >= 128 - 120 - 4 and box[2] <= 128 + 120 + 4


def test_a_picture_follows_the_poses_and_depth_of_two_controls(harness: EngineHarness, tmp_path: Path) -> None:
    """Each control has its own networks, in their order, and the receipt has those of each."""
    pose, persons = get_sources(tmp_path)
    save_depth_anything(tmp_path / "preprocessors" / "depth")
    depth = PreprocessorIndex("preprocessor", (tmp_path / "preprocessors",), Snapshots(tmp_path / "hub")).get_source(
        "depth"
    )
    square = PICTURE.resize((64, 64))
    inputs = make_inputs(harness, "tiny-sd15", {"preprocessor": "pose"}, {"preprocessor": "depth"}, lines=square)
    events = harness.run(replace(inputs, adapters=[*inputs.adapters, pose, persons, depth]))
    maps = [harness.engine.make_map(networks, square) for networks in ([pose, persons], [depth])]
    expected = make_inputs(harness, "tiny-sd15", {}, {})
    expected = replace(expected, input_images={f"controls[{n}].image": each for n, each in enumerate(maps)})
    assert difference(get_final_image(events), get_final_image(harness.run(expected))) <= 1
    first, second = events[-1].receipts[0].controls  # type: ignore[union-attr]
    assert (first.preprocessor_sha256, first.preprocessor_detector_sha256) == (pose.sha256, persons.sha256)
    assert (second.preprocessor_sha256, second.preprocessor_detector_sha256) == (depth.sha256, None)
