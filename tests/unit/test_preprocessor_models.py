"""Networks for preprocessors on disk are recognized by their configuration; workers make maps with them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from imagegen.errors import InvalidRequest, UnusableModel, WorkerLost
from imagegen.library.preprocessor_models import PreprocessorIndex, find_person_detector
from imagegen.library.snapshots import Snapshots
from imagegen.media.base64_images import encode_base64
from imagegen.media.png import encode_png
from imagegen.workers.messages import MapMade, WorkerGone
from tests.doubles import make_library
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio
from tests.unit.model_files import write_detector, write_json, write_tensors
from tests.unit.wait import wait_until_true

DEPTH = {"architectures": ["DepthAnythingForDepthEstimation"]}
SEGMENTS = {"architectures": ["SegformerForSemanticSegmentation"], "id2label": {str(n): str(n) for n in range(150)}}
POSE = {"architectures": ["VitPoseForPoseEstimation"], "id2label": {str(n): str(n) for n in range(17)}}
PICTURE = encode_base64(encode_png(Image.new("RGB", (32, 32), "red")))


def write(folder: Path, config: dict[str, Any]) -> None:
    write_json(folder / "config.json", config)
    write_tensors(folder / "model.safetensors", {"weight": (1, 1)})


@pytest.fixture
def index(tmp_path: Path) -> PreprocessorIndex:
    return PreprocessorIndex("preprocessor", (tmp_path,), Snapshots(tmp_path / "hub"))


def test_the_first_network_of_a_kind_is_used(index: PreprocessorIndex, tmp_path: Path) -> None:
    write(tmp_path / "b", DEPTH)
    write(tmp_path / "a", SEGMENTS)
    write(tmp_path / "c", DEPTH)
    assert index.get_source_for("depth").id == "b"
    assert index.get_source_for("segmentation").id == "a"


def test_what_is_missing_is_named(index: PreprocessorIndex) -> None:
    with pytest.raises(InvalidRequest, match="such as depth-anything/Depth-Anything-V2-Small-hf") as caught:
        index.get_source_for("depth")
    assert caught.value.field == "preprocessor"


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"architectures": ["ZoeDepthForDepthEstimation"]}, "it is none of the networks that can be used: DPTFor"),
        (DEPTH | {"use_pretrained_backbone": True}, "a part of its network is elsewhere"),
        (SEGMENTS | {"id2label": {"0": "road"}}, "it knows 1 classes instead of the 150 of ADE20K"),
        (POSE | {"id2label": {"0": "nose"}}, "it knows 1 joints instead of the 17 of COCO"),
        (POSE | {"backbone_config": {"num_experts": 6}}, "it has several experts"),
    ],
    ids=str,
)
def test_another_network_is_refused_with_the_reason(
    index: PreprocessorIndex, tmp_path: Path, config: dict[str, Any], problem: str
) -> None:
    write(tmp_path / "mine", config)
    with pytest.raises(UnusableModel, match=problem):
        index.get("mine")


def test_a_pose_needs_a_detector_of_persons_too(tmp_path: Path) -> None:
    library = make_library(tmp_path)
    detectors = library.adapters["detector"]
    with pytest.raises(InvalidRequest, match="pose needs a detector of persons in the folder detectors"):
        find_person_detector(detectors)
    write_detector(tmp_path / "models" / "detectors" / "mine", id2label={"0": "person"})
    source = find_person_detector(detectors)
    assert (source.id, source.kind, source.architecture) == ("mine", "preprocessor", "YolosForObjectDetection")


async def preprocess(studio: InProcessStudio, **reply: Any) -> httpx.Response:
    """Returns the answer of the route when the worker replies so; with no reply, when the worker is lost."""
    before = len(studio.worker.maps)
    async with studio.make_client() as client:
        body = {"image": PICTURE, "preprocessor": "depth"}
        answer = asyncio.create_task(client.post("/v1/preprocess", json=body))
        await wait_until_true(lambda: answer.done() or len(studio.worker.maps) > before)
        map_id = studio.worker.maps[-1].map_id
        studio.worker.emit_report(MapMade(worker="cpu", map_id=map_id, **reply) if reply else WorkerGone(worker="cpu"))
        return await answer


async def test_what_to_put_where_is_said_if_there_is_no_network(tmp_path: Path) -> None:
    async with run_in_process_studio(tmp_path) as studio, studio.make_client() as client:
        body = {"image": PICTURE, "preprocessor": "depth"}
        refused = (await client.post("/v1/preprocess", json=body)).json()["error"]
        assert refused["field"] == "preprocessor" and "in the folder preprocessors" in refused["message"]
        detect = {"controlnet_module": "depth_midas", "controlnet_input_images": [PICTURE]}
        refused = (await client.post("/controlnet/detect", json=detect)).json()
        assert refused["errors"].startswith("controlnet_module: depth needs a network")
        control = {"controlnet": "studio-edges", "image": PICTURE, "preprocessor": "depth"}
        job = {"prompt": "a", "controls": [control]}
        refused = (await client.post("/v1/jobs", json=job)).json()["error"]
        assert refused["field"] == "controls[0].preprocessor" and "needs a network" in refused["message"]


async def test_a_worker_makes_the_map_and_its_errors_are_answers(tmp_path: Path) -> None:
    async with run_in_process_studio(tmp_path) as studio:
        write(tmp_path / "models" / "preprocessors" / "mine", DEPTH)
        made = studio.service.images.write_input(Image.new("RGB", (32, 32), "grey"))
        assert (await preprocess(studio, image_id=made)).json()["id"] == made
        assert studio.worker.maps[0].networks[0].id == "mine"
        broken = await preprocess(studio, code="model_broken", message="It is broken.")
        assert broken.json()["error"]["message"] == "It is broken."
        assert (await preprocess(studio)).json()["error"]["code"] == WorkerLost.code
