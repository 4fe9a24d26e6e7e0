"""Real inference, on the embedded model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagegen.engine.engine import Engine, Finished, Work
from imagegen.info import ModelInfo, ModelSource
from imagegen.library.models import Models
from imagegen.library.snapshots import Snapshots
from imagegen.schema import GenerationRequest
from imagegen.settings import ASSETS
from tests.integration.tiny import ANY_IMAGE, Bench, unwatched

Generate = Callable[..., Finished]
__all__ = ["ANY_IMAGE", "EMBEDDED", "INFO", "Generate", "request", "unwatched"]


def embedded() -> tuple[ModelInfo, ModelSource]:
    model = Models(ASSETS, ASSETS, Snapshots()).get("embedded")
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
    """Runs a request, given by what is special about it, to its end."""

    def finished(start: Image.Image | None = None, **fields: Any) -> Finished:
        if start is not None:
            fields["init_image"] = ANY_IMAGE
        *_, last = engine.generate(Work(request(**fields), EMBEDDED, init_image=start), unwatched())
        assert isinstance(last, Finished)
        return last

    return finished


def request(**fields: Any) -> GenerationRequest:
    """A whole request, small and quick, but for the fields given."""
    usual = {"prompt": "a red circle on a blue background", "width": 64, "height": 64, "steps": 3, "seed": 1}
    return GenerationRequest(**{**usual, "guidance_scale": 4.0, "sampler": "DPM++ 2M", **fields})


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Tiny models of all architectures, each made when it is first asked for."""
    return Bench(tmp_path_factory.mktemp("models"))
