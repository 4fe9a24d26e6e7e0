"""Networks and models whose weights are in several files give the same pictures as in one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, DiffusionPipeline

from imagegen.engine.controls.loading import read_controlnet
from imagegen.library.controlnets import ControlNetIndex
from imagegen.library.snapshots import Snapshots
from imagegen.library.weight_files import find_missing_part
from tests.hub.controlnets import save_controlnet
from tests.integration.engine_harness import EngineHarness
from tests.integration.test_vaes import get_vae_folder, paint


def list_shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*-of-*.safetensors"))


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_a_model_in_shards(harness: EngineHarness, variant: str | None) -> None:
    name = f"in-shards-{variant}"
    folder = harness.folder / name
    pipeline = DiffusionPipeline.from_pretrained(harness.model("tiny-sd15")[1].path, dtype=torch.float16)
    pipeline.save_pretrained(folder, variant=variant, max_shard_size="60KB")
    assert min(len(list_shards(folder / part)) for part in ("unet", "text_encoder", "vae")) > 1
    assert harness.generate_image(name).tobytes() == harness.generate_image("tiny-sd15").tobytes()
    shard = list_shards(folder / "text_encoder")[-1]
    shard.unlink()
    assert find_missing_part(folder) == f"text_encoder/{shard.name}"
    assert name not in [model.info.id for model in harness.models.list_available()]


def test_a_vae_in_shards(harness: EngineHarness) -> None:
    vae = AutoencoderKL.from_pretrained(get_vae_folder(harness, "sd"), dtype=torch.float16)
    folder = harness.folder / "vaes" / "in-shards"
    vae.save_pretrained(folder, variant="fp16", max_shard_size="20KB")
    assert len(list_shards(folder)) > 1
    assert paint(harness, "tiny-sd15", "in-shards").tobytes() == paint(harness, "tiny-sd15", "sd").tobytes()


def test_a_controlnet_in_shards(harness: EngineHarness, tmp_path: Path) -> None:
    save_controlnet(harness.model("tiny-sd15")[1].path, tmp_path / "whole")
    network = ControlNetModel.from_pretrained(tmp_path / "whole")
    network.save_pretrained(tmp_path / "in-shards", max_shard_size="50KB")
    index = ControlNetIndex("controlnet", (tmp_path,), Snapshots(tmp_path / "hub"))
    assert index.list_ids() == ["in-shards", "whole"]
    _, weights = read_controlnet(index.get_source("in-shards"))
    expected = network.state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
