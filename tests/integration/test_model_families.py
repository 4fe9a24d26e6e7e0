"""What each model family does differently, without generating pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from imagegen.engine.batching.collate import CannotCollate, batch_key, collate, split
from imagegen.engine.families.packed import unpack_latents
from imagegen.engine.families.registry import MODEL_FAMILIES
from imagegen.errors import ModelLoadFailed
from imagegen.library.family_facts import FAMILIES
from imagegen.schema.models import ModelSource


def test_each_family_of_the_library_has_one_in_the_engine() -> None:
    assert {name: family.facts for name, family in MODEL_FAMILIES.items()} == FAMILIES


@pytest.mark.parametrize(
    ("pipeline", "expected"),
    [
        ("StableDiffusionPipeline", {"guidance_scale": 4.0}),
        ("ZImagePipeline", {"guidance_scale": 3.0}),
        ("QwenImagePipeline", {"true_cfg_scale": 4.0}),
    ],
)
def test_the_guidance_scale_is_passed_as_the_pipeline_expects_it(pipeline: str, expected: dict[str, float]) -> None:
    assert MODEL_FAMILIES[pipeline].build_guidance_arguments(4.0) == expected


@pytest.mark.parametrize("pipeline", ["SanaPipeline", "QwenImagePipeline"])
def test_a_family_without_single_files_refuses_one_by_name(tmp_path: Path, pipeline: str) -> None:
    source = ModelSource(id="mine", name="mine", pipeline=pipeline, path=tmp_path / "mine.safetensors")
    with pytest.raises(ModelLoadFailed, match=rf"a {FAMILIES[pipeline].name} model is not loaded from one file"):
        MODEL_FAMILIES[pipeline].load_from_file(source, tmp_path, torch.float32)


def test_packed_latents_become_planes() -> None:
    planes = torch.arange(2 * 3 * 4 * 6.0).view(2, 3, 4, 6)
    packed = planes.view(2, 3, 2, 2, 3, 2).permute(0, 2, 4, 1, 3, 5).reshape(2, 6, 12)
    assert torch.equal(unpack_latents(packed, rows=2), planes)


def test_timesteps_of_several_calls_are_one_per_row() -> None:
    rules = MODEL_FAMILIES["ZImagePipeline"].batch_rules
    calls = [{"x": [torch.zeros(1)] * rows, "t": torch.tensor(float(rows))} for rows in (1, 2)]
    joined = collate(calls, rules)
    x, t = joined["x"], joined["t"]
    assert isinstance(x, list) and len(x) == 3
    assert isinstance(t, torch.Tensor) and t.tolist() == [1.0, 2.0, 2.0]
    assert split([torch.zeros(1)] * 3, [1, 2])[1] == [torch.zeros(1)] * 2


def test_positions_are_joined_only_if_they_are_the_same() -> None:
    rules = MODEL_FAMILIES["FluxPipeline"].batch_rules
    first, same, other = (
        {"hidden_states": torch.zeros(2, 4, 8), "img_ids": torch.full((4, 3), place)} for place in (0.0, 0.0, 1.0)
    )
    keys = [batch_key(call, 2, rules) for call in (first, same, other)]
    assert keys[0] == keys[1] != keys[2]
    ids = collate([first, same], rules)["img_ids"]
    assert isinstance(ids, torch.Tensor) and ids.shape == (4, 3)


def test_the_rules_of_one_family_do_not_hold_for_another() -> None:
    arguments = {"x": torch.zeros(2, 4), "t": torch.tensor(1.0)}
    assert batch_key(arguments, 2, MODEL_FAMILIES["ZImagePipeline"].batch_rules)
    with pytest.raises(CannotCollate):
        batch_key(arguments, 2, MODEL_FAMILIES["FluxPipeline"].batch_rules)
