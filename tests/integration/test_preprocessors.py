"""Preprocessors that are networks make the maps of transformers, and the pictures that follow them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

from imagegen.engine.engine import Engine, JobInputs
from imagegen.engine.preprocessors.networks import DepthPreprocessor
from imagegen.errors import ModelLoadFailed
from imagegen.library.preprocessor_models import PreprocessorIndex
from imagegen.library.snapshots import Snapshots
from imagegen.schema.events import Cancelled, Progress
from imagegen.schema.models import AdapterSource
from tests.hub import preprocessors
from tests.integration.engine_harness import EngineHarness, get_final_image, new_control
from tests.integration.test_batching import difference
from tests.integration.test_controls import make_inputs

PICTURE = Image.effect_noise((96, 64), 90).resize((64, 96)).convert("RGB")
# The colours of some classes in the table of ADE20K, by their number from 0: wall, sky, tree, person, flag.
KNOWN_COLORS = {0: (120, 120, 120), 2: (6, 230, 230), 4: (4, 200, 3), 12: (150, 5, 61), 149: (92, 0, 255)}


def get_source(folder: Path, name: str) -> AdapterSource:
    return PreprocessorIndex("preprocessor", (folder,), Snapshots(folder / "hub")).get_source(name)


@pytest.mark.parametrize(
    ("save", "architecture"),
    [
        (preprocessors.save_depth_anything, "DepthAnythingForDepthEstimation"),
        (preprocessors.save_dpt, "DPTForDepthEstimation"),
    ],
)
def test_depth_is_that_of_transformers(
    engine: Engine, tmp_path: Path, save: Callable[[Path], None], architecture: str
) -> None:
    save(tmp_path / "mine")
    found = engine.make_map([get_source(tmp_path, "mine")], PICTURE)
    network: Any = getattr(transformers, architecture).from_pretrained(tmp_path / "mine")
    processor: Any = DPTImageProcessorPil.from_pretrained(tmp_path / "mine")
    with torch.no_grad():
        output = network(**processor(PICTURE, return_tensors="pt"))
    (depth,) = processor.post_process_depth_estimation(output, [(PICTURE.height, PICTURE.width)])
    values = depth["predicted_depth"].numpy()
    expected = Image.fromarray(((values - values.min()) / np.ptp(values) * 255).astype(np.uint8)).convert("RGB")
    assert found.size == PICTURE.size and difference(found, expected) <= 1
    assert found.convert("L").getextrema() == (0, 255)


def test_what_is_near_is_light_also_by_a_network_that_says_distances(engine: Engine, tmp_path: Path) -> None:
    preprocessors.save_depth_anything(tmp_path / "metric", depth_estimation_type="metric", max_depth=1)
    network: Any = transformers.DepthAnythingForDepthEstimation.from_pretrained(tmp_path / "metric")
    processor: Any = DPTImageProcessorPil.from_pretrained(tmp_path / "metric")
    with torch.no_grad():
        output = network(**processor(PICTURE, return_tensors="pt"))
    (depth,) = processor.post_process_depth_estimation(output, [(PICTURE.height, PICTURE.width)])
    levels = np.asarray(engine.make_map([get_source(tmp_path, "metric")], PICTURE).convert("L"))
    distances = depth["predicted_depth"].numpy()
    assert levels.flat[distances.argmin()] == 255 and levels.flat[distances.argmax()] == 0


@pytest.mark.parametrize(
    ("save", "architecture"),
    [
        (preprocessors.save_segformer, "SegformerForSemanticSegmentation"),
        (preprocessors.save_upernet, "UperNetForSemanticSegmentation"),
    ],
)
def test_each_class_has_its_colour_of_ade20k(
    engine: Engine, tmp_path: Path, save: Callable[[Path], None], architecture: str
) -> None:
    save(tmp_path / "mine")
    source = get_source(tmp_path, "mine")
    found = np.asarray(engine.make_map([source], PICTURE))
    network: Any = getattr(transformers, architecture).from_pretrained(tmp_path / "mine")
    processor: Any = SegformerImageProcessorPil.from_pretrained(tmp_path / "mine")
    with torch.no_grad():
        output = network(**processor(PICTURE, return_tensors="pt"))
    (classes,) = processor.post_process_semantic_segmentation(output, [(PICTURE.height, PICTURE.width)])
    colours = {
        number: {tuple(each) for each in found[classes.numpy() == number]} for number in classes.unique().tolist()
    }
    assert all(len(each) == 1 for each in colours.values()), "all pixels of a class have one colour"
    assert len(set.union(*colours.values())) == len(colours) > 1, "each class has another"


def test_a_file_may_lack_what_its_network_never_uses(engine: Engine, tmp_path: Path) -> None:
    for name in ("whole", "lacking", "broken"):
        preprocessors.save_dpt(tmp_path / name)
    for name, part in {"lacking": "layers.0.residual_layer1.", "broken": "layers.1.residual_layer1."}.items():
        file = tmp_path / name / "model.safetensors"
        weights = load_file(file)
        kept = {each: weights[each] for each in weights if part not in each}
        assert len(kept) < len(weights)
        save_file(kept, file, {"format": "pt"})
    whole, lacking = (engine.make_map([get_source(tmp_path, name)], PICTURE) for name in ("whole", "lacking"))
    assert whole.tobytes() == lacking.tobytes()
    with pytest.raises(ModelLoadFailed, match=r"missing keys neck\.fusion_stage\.layers\.1\.residual_layer1"):
        engine.make_map([get_source(tmp_path, "broken")], PICTURE)


@pytest.mark.parametrize("number", KNOWN_COLORS)
def test_known_classes_have_known_colours(engine: Engine, tmp_path: Path, number: int) -> None:
    preprocessors.save_segformer(tmp_path / "mine")
    file = tmp_path / "mine" / "model.safetensors"
    weights = load_file(file)
    weights["decode_head.classifier.bias"][number] = 1e6
    save_file(weights, file, {"format": "pt"})
    assert engine.make_map([get_source(tmp_path, "mine")], PICTURE).getcolors() == [
        (PICTURE.width * PICTURE.height, KNOWN_COLORS[number])
    ]


def test_a_picture_follows_the_map_that_a_network_makes(harness: EngineHarness, tmp_path: Path) -> None:
    preprocessors.save_depth_anything(tmp_path / "mine")
    source = get_source(tmp_path, "mine")
    square = PICTURE.resize((64, 64))
    by_name = make_inputs(harness, "tiny-sd15", {"preprocessor": "depth"}, lines=square)
    by_name = replace(by_name, adapters=[*by_name.adapters, source])
    made = harness.engine.make_map([source], square)
    by_map = make_inputs(harness, "tiny-sd15", {}, lines=made)
    events = harness.run(by_name)
    assert difference(get_final_image(events), get_final_image(harness.run(by_map))) <= 1
    (control,) = events[-1].receipts[0].controls  # type: ignore[union-attr]
    assert (control.preprocessor_model, control.preprocessor_sha256) == ("mine", source.sha256)
    assert events[-1].receipts[0].to_request_fields()["controls"] == [  # type: ignore[union-attr]
        use.model_dump() for use in by_name.request.controls
    ]


def test_a_job_that_is_cancelled_meanwhile_ends_with_the_map_that_is_made(
    harness: EngineHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preprocessors.save_depth_anything(tmp_path / "mine")
    inputs = make_inputs(harness, "tiny-sd15", {"preprocessor": "depth"}, {"preprocessor": "depth"})
    source, control, maps = get_source(tmp_path, "mine"), new_control(), []

    def make(_: DepthPreprocessor, image: Image.Image) -> Image.Image:
        maps.append(image)
        control.cancelled.set()
        return image

    monkeypatch.setattr(DepthPreprocessor, "make", make)
    events = harness.run(replace(inputs, adapters=[*inputs.adapters, source, source]), control)
    assert isinstance(events[-1], Cancelled) and not any(isinstance(event, Progress) for event in events)
    assert len(maps) == 1


def test_networks_count_as_memory_and_make_room_for_models(harness: EngineHarness, tmp_path: Path) -> None:
    engine = Engine("cpu")
    preprocessors.save_depth_anything(tmp_path / "mine")
    engine.make_map([get_source(tmp_path, "mine")], PICTURE)
    assert engine.store.measure_usage()["cpu"] > 0
    engine.release("mine")
    assert engine.store.measure_usage().get("cpu", 0) == 0
    inputs: JobInputs = harness.make_inputs("tiny-sd15")
    get_final_image(list(engine.generate(inputs, new_control())))
    models = sum(model.size_bytes for model in engine.store.models.values())
    engine.make_map([get_source(tmp_path, "mine")], PICTURE)
    assert engine.store.measure_usage()["cpu"] > models


def test_tensors_that_are_not_those_of_the_configuration_are_refused_by_name(engine: Engine, tmp_path: Path) -> None:
    preprocessors.save_dpt(tmp_path / "mine")
    file = tmp_path / "mine" / "model.safetensors"
    save_file(load_file(file) | {"more.weight": torch.ones(1)}, file, {"format": "pt"})
    with pytest.raises(ModelLoadFailed, match=r"unexpected keys more\.weight"):
        engine.make_map([get_source(tmp_path, "mine")], PICTURE)
