"""Detectors on disk are recognized by their configuration, and what they find is chosen by size and label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from imagegen.engine.detail import choose_boxes, plan_detail
from imagegen.engine.detectors.detection import Detection
from imagegen.engine.detectors.loading import read_detector
from imagegen.engine.detectors.mtcnn import FaceDetector
from imagegen.engine.models.network_files import load_network
from imagegen.errors import UnusableModel
from imagegen.library.detectors import DetectorIndex
from imagegen.library.snapshots import Snapshots
from imagegen.schema.request import GenerationRequest
from imagegen.settings import ASSETS_DIR
from tests.unit.model_files import write_detector, write_json, write_tensors


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "detectors"


def find_index(folder: Path) -> DetectorIndex:
    return DetectorIndex("detector", (folder, ASSETS_DIR / "detectors"), Snapshots(folder.parent / "hub"))


def test_a_folder_is_listed_with_what_it_finds(folder: Path) -> None:
    write_detector(folder / "mine")
    mine, faces = (each.info for each in find_index(folder).list_available())
    assert (mine.id, mine.architecture, mine.labels) == ("mine", "YolosForObjectDetection", ("face", "hand"))
    assert (faces.id, faces.name, faces.labels, faces.licence) == ("faces", "Faces", ("face",), "MIT")
    source = find_index(folder).get_source("mine")
    assert (source.kind, source.labels) == ("detector", ("face", "hand"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architectures": ["DetrForObjectDetection"]}, "none of the detectors that can be used: DFineForObjectDet"),
        ({"architectures": "YolosForObjectDetection"}, "none of the detectors"),
        ({"architectures": []}, "none of the detectors"),
        ({"use_timm_backbone": True}, "a part of its network is elsewhere, as use_timm_backbone says"),
        ({"use_pretrained_backbone": True}, "a part of its network is elsewhere"),
        ({"num_hidden_layers": 2000}, "layers must be at most 1,000"),
    ],
)
def test_another_network_is_refused_by_name(folder: Path, config: dict[str, Any], message: str) -> None:
    write_detector(folder / "mine", **config)
    with pytest.raises(UnusableModel, match=message):
        find_index(folder).get("mine")


@pytest.mark.parametrize(
    "config",
    [{"size": {"height": 5000, "width": 64}}, {"size": 4097}, {"size": 64, "pad_size": {"height": 1e9, "width": 64}}],
    ids=str,
)
def test_pictures_that_are_too_large_for_a_detector_are_refused(folder: Path, config: dict[str, Any]) -> None:
    write_detector(folder / "mine")
    write_json(folder / "mine" / "preprocessor_config.json", config)
    with pytest.raises(UnusableModel, match="size must be at most 4,096"):
        find_index(folder).get("mine")


def test_weights_without_a_configuration_are_refused(folder: Path) -> None:
    write_tensors(folder / "mine.safetensors", {"weight": (1,)})
    with pytest.raises(UnusableModel, match="it has no configuration"):
        find_index(folder).get("mine")


def detect(*boxes: tuple[float, ...], label: str = "face") -> list[Detection]:
    return [Detection((left, top, right, bottom), label) for left, top, right, bottom in boxes]


def test_boxes_are_in_reading_order_inside_the_picture(folder: Path) -> None:
    found = detect((60, 2, 80, 20), (5.5, 6, 20.2, 30), (40, 50, 200, 70), (-9, 52, 20, 75), (120, 5, 140, 9))
    boxes = choose_boxes(found, "", (100, 100))
    assert boxes == [(5, 6, 21, 30), (60, 2, 80, 20), (0, 52, 20, 75), (40, 50, 100, 70)]
    assert choose_boxes([*found, *found], "face", (100, 100)) == boxes
    assert choose_boxes(found, "hand", (100, 100)) == []


def test_of_many_boxes_the_largest_are_painted() -> None:
    boxes = choose_boxes(detect(*((10 * place, 0, 10 * place + place + 1, 9) for place in range(10))), "", (100, 9))
    assert boxes == [(10 * place, 0, 10 * place + place + 1, 9) for place in range(2, 10)]


def test_a_part_is_painted_in_the_size_of_the_first_stage_or_of_the_picture_if_it_is_larger() -> None:
    request = GenerationRequest(prompt="x", width=64, height=64, hires_scale=2, detail_detector="a", detail_padding=0)
    image = Image.effect_noise((128, 128), 60).convert("RGB")
    assert plan_detail(image, (40, 40, 60, 60), request, 8).start.size == (64, 64)
    large = plan_detail(image, (30, 30, 110, 110), request, 8)
    assert large.start.size == (128, 128)
    pasted = np.asarray(large.paste(Image.new("RGB", (128, 128))))
    assert (pasted[30:110, 30:110] == 0).all()
    assert (pasted[:17] == np.asarray(image)[:17]).all()


def load_faces() -> FaceDetector:
    network = load_network(
        find_index(Path("none")).get_source("faces"), read_detector, torch.device("cpu"), torch.float32
    )
    assert isinstance(network, FaceDetector)
    return network


@pytest.mark.parametrize("size", [(512, 512), (64, 96), (19, 300), (1, 1)])
def test_there_are_no_faces_in_noise_and_in_small_pictures(size: tuple[int, int]) -> None:
    assert load_faces().detect(Image.effect_noise(size, 60).convert("RGB"), 0.3) == []
