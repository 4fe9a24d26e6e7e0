"""Real inference with the embedded model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagegen.engine.engine import Engine, EngineResult, JobInputs
from imagegen.library.model_index import ModelIndex
from imagegen.library.snapshots import Snapshots
from imagegen.schema.models import ModelInfo, ModelSource
from imagegen.schema.request import GenerationRequest
from imagegen.settings import ASSETS_DIR
from tests.integration.engine_harness import ANY_IMAGE, EngineHarness, name_start_image, new_control

Generate = Callable[..., EngineResult]
__all__ = ["ANY_IMAGE", "EMBEDDED", "INFO", "Generate", "new_control", "request"]


def embedded() -> tuple[ModelInfo, ModelSource]:
    model = ModelIndex(ASSETS_DIR, ASSETS_DIR, Snapshots()).get("embedded")
    assert model.source is not None
    return model.info, model.source


INFO, EMBEDDED = embedded()


@pytest.fixture(scope="session")
def model_folder() -> Path:
    return EMBEDDED.path


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine("cpu")


@pytest.fixture(scope="session")
def generate(engine: Engine) -> Generate:
    """Runs a small request with the given fields, to its end."""

    def run_to_end(start: Image.Image | None = None, mask: Image.Image | None = None, **fields: Any) -> EngineResult:
        images = name_start_image(start, mask)
        fields |= dict.fromkeys(images, ANY_IMAGE)
        *_, last = engine.generate(JobInputs(request(**fields), EMBEDDED, input_images=images), new_control())
        assert isinstance(last, EngineResult)
        return last

    return run_to_end


def request(**fields: Any) -> GenerationRequest:
    """Returns a complete, small and fast request with the given fields."""
    usual = {"prompt": "a red circle on a blue background", "width": 64, "height": 64, "steps": 3, "seed": 1}
    return GenerationRequest(**{**usual, "guidance_scale": 4.0, "sampler": "DPM++ 2M", **fields})


@pytest.fixture(scope="session")
def harness(tmp_path_factory: pytest.TempPathFactory) -> EngineHarness:
    """Tiny models of all architectures, each built at first use."""
    return EngineHarness(tmp_path_factory.mktemp("models"))
