"""Configurations of a model cannot name code. Tests of the folder that the engine loads from; it needs no torch."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from imagegen.engine.models.safe_configs import open_safe_folder


def write_model(folder: Path, config: object) -> None:
    (folder / "text_encoder").mkdir(parents=True)
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    (folder / "text_encoder" / "config.json").write_text(json.dumps(config))
    (folder / "text_encoder" / "model.safetensors").write_bytes(b"weights")


@pytest.mark.parametrize(
    ("config", "safe"),
    [
        ({"a": 1, "_attn_implementation": "someone/kernels"}, {"a": 1}),
        ({"a": {"_attn_implementation_internal": "someone/kernels:f", "b": 2}}, {"a": {"b": 2}}),
        ({"a": [{"auto_map": {"AutoModel": "code.Model"}}]}, {"a": [{}]}),
        ({"a": 1, "use_kernels": True, "trust_remote_code": True}, {"a": 1}),
    ],
)
def test_code_in_a_configuration_is_left_out(
    tmp_path: Path, config: object, safe: object, caplog: pytest.LogCaptureFixture
) -> None:
    write_model(tmp_path / "model", config)
    with caplog.at_level(logging.WARNING), open_safe_folder(tmp_path / "model") as folder:
        assert json.loads((folder / "text_encoder" / "config.json").read_text()) == safe
        assert (folder / "text_encoder" / "model.safetensors").read_bytes() == b"weights"
        assert (folder / "model_index.json").exists()
    assert not folder.exists()
    assert "names code" in caplog.text
    assert json.loads((tmp_path / "model" / "text_encoder" / "config.json").read_text()) == config


@pytest.mark.parametrize("config", [{}, {"_attn_implementation": "sdpa"}, {"_attn_implementation": None}, [1]])
def test_other_configurations_are_used_as_they_are(tmp_path: Path, config: object) -> None:
    write_model(tmp_path / "model", config)
    with open_safe_folder(tmp_path / "model") as folder:
        assert folder == tmp_path / "model"
