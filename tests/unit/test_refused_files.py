"""The files in the models folder that cannot be used are listed with the reason."""

from __future__ import annotations

from pathlib import Path

from imagegen.schema.models import RefusedFile
from tests.doubles import make_library
from tests.unit.in_process_studio import run_in_process_studio
from tests.unit.model_files import (
    truncate_file,
    write_ip_adapter,
    write_lora,
    write_unet_model,
)

PICKLE = "it is a pickle, which may run code; convert it to safetensors"


async def test_each_refused_file_has_its_reason(tmp_path: Path) -> None:
    models = tmp_path / "models"
    write_unet_model(models / "good")
    write_lora(models / "good.safetensors")
    write_lora(models / "loras" / "fine.safetensors")
    truncate_file(write_lora(models / "loras" / "half.safetensors"))
    (models / "old.ckpt").write_bytes(b"pickle")
    (models / "embeddings").mkdir()
    (models / "embeddings" / "old.pt").write_bytes(b"pickle")
    (models / "embeddings" / "README.md").write_text("words")
    async with run_in_process_studio(tmp_path) as studio:
        answer = await studio.client_without_token.get("/v1/refused_files")
        listed = await studio.client_without_token.get("/v1/models/list")
    files = [RefusedFile(**each) for each in answer.json()]
    assert [(each.kind, each.id) for each in files] == [
        ("model", "good.safetensors"), ("model", "old.ckpt"), ("lora", "half"), ("embedding", "old.pt"),
    ]  # fmt: skip
    assert files[0].problem.startswith("it is a LoRA")
    assert [each.problem for each in files[1:]] == [PICKLE, "it is not a complete safetensors file", PICKLE]
    assert "good" in [each["model"]["id"] for each in listed.json()]


def test_a_pickle_beside_its_safetensors_file_is_no_news(tmp_path: Path) -> None:
    write_lora(tmp_path / "models" / "loras" / "style.safetensors")
    (tmp_path / "models" / "loras" / "style.pt").write_bytes(b"pickle")
    assert [each for resource in make_library(tmp_path).resources for each in resource.list_refused()] == []


def test_what_an_ip_adapter_needs_is_not_refused(tmp_path: Path) -> None:
    write_ip_adapter(tmp_path / "models" / "ip_adapters" / "face" / "face.safetensors")
    assert [each for resource in make_library(tmp_path).resources for each in resource.list_refused()] == []
