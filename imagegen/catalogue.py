"""The models that there are, from one file of data beside them."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter

from imagegen.schema import ModelInfo

MODELS = TypeAdapter(list[ModelInfo])


def catalogue(models_dir: Path) -> list[ModelInfo]:
    """The first is what a newcomer sees."""
    return MODELS.validate_json((models_dir / "catalogue.json").read_bytes())
