"""A model whose configuration would take all memory or hours to load is refused when it is listed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagegen.errors import UnusableModel
from imagegen.library import config_limits
from imagegen.library.config_limits import find_config_problem
from imagegen.library.model_index import ModelIndex
from imagegen.library.snapshots import Snapshots
from imagegen.settings import ASSETS_DIR

EMBEDDED = ASSETS_DIR / "models" / "embedded"


@pytest.fixture
def change_config(tmp_path: Path) -> Callable[[str, str, Any], Path]:
    """Copies the embedded model to the models folder, with one value of a configuration changed."""

    def change(file: str, key: str, value: Any) -> Path:
        copy = tmp_path / "copy"
        shutil.copytree(EMBEDDED, copy)
        config = json.loads((copy / file).read_text()) | {key: value}
        (copy / file).write_text(json.dumps(config))
        return tmp_path

    return change


@pytest.mark.parametrize(
    ("file", "key", "value", "maximum"),
    [
        ("scheduler/scheduler_config.json", "num_train_timesteps", 10**9, "100,000"),
        ("scheduler/scheduler_config.json", "num_train_timesteps", -(10**9), "100,000"),
        ("scheduler/scheduler_config.json", "num_train_timesteps", 1e12, "100,000"),
        ("unet/config.json", "layers_per_block", 10**6, "1,000"),
        ("unet/config.json", "layers_per_block", [1, [10**6]], "1,000"),
        ("unet/config.json", "sample_size", 10**6, "16,384"),
        ("unet/config.json", "cross_attention_dim", 10**9, "1,000,000"),
        ("text_encoder/config.json", "max_position_embeddings", 10**9, "10,000,000"),
        ("text_encoder/config.json", "vocab_size", 10**12, "1,000,000,000"),
        ("text_encoder/config.json", "inner", {"num_hidden_layers": 10**9}, "1,000"),
    ],
)
def test_a_number_out_of_range_is_refused_by_file_and_key(
    change_config: Callable[[str, str, Any], Path], file: str, key: str, value: Any, maximum: str
) -> None:
    models = ModelIndex(ASSETS_DIR, change_config(file, key, value), Snapshots())
    with pytest.raises(UnusableModel) as refusal:
        models.get("copy")
    name = "num_hidden_layers" if key == "inner" else key
    assert f"{file}: {name} must be at most {maximum}" in str(refusal.value)
    assert "copy" not in [model.info.id for model in models.list_available()]


def test_a_list_that_is_too_long_is_refused(
    change_config: Callable[[str, str, Any], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = change_config("scheduler/scheduler_config.json", "trained_betas", [0.1] * 1_001)
    assert find_config_problem(folder / "copy") is None
    monkeypatch.setattr(config_limits, "MAX_VALUES", 1_000)
    assert find_config_problem(folder / "copy") == "scheduler/scheduler_config.json: more than 1,000 values"


@pytest.mark.parametrize("folder", [EMBEDDED, *sorted((ASSETS_DIR / "configs").glob("sd-*"))], ids=lambda f: f.name)
def test_what_ships_is_far_below_the_limits(folder: Path) -> None:
    assert find_config_problem(folder) is None
