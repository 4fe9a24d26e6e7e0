"""Real inference, on the embedded model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagegen.catalogue import catalogue
from imagegen.engine.engine import Control, Engine, Finished
from imagegen.schema import GenerationRequest
from imagegen.settings import ASSETS

MODELS = ASSETS / "models"
INFO = catalogue(MODELS)[0]
# A request names the picture that it starts from by its hash. The engine gets the picture itself beside it.
ANY_IMAGE = "0" * 64
Generate = Callable[..., Finished]


@pytest.fixture(scope="session")
def model_folder() -> Path:
    return MODELS / INFO.folder


@pytest.fixture(scope="session")
def engine(model_folder: Path) -> Engine:
    return Engine(INFO, model_folder, "cpu")


@pytest.fixture(scope="session")
def generate(engine: Engine) -> Generate:
    """Runs a request, given by what is special about it, to its end."""

    def finished(start: Image.Image | None = None, **fields: Any) -> Finished:
        if start is not None:
            fields["init_image"] = ANY_IMAGE
        *_, last = engine.generate(request(**fields), start, unwatched())
        assert isinstance(last, Finished)
        return last

    return finished


def request(**fields: Any) -> GenerationRequest:
    """A whole request, small and quick, but for the fields given."""
    usual = {"prompt": "a red circle on a blue background", "width": 64, "height": 64, "steps": 3, "seed": 1}
    return GenerationRequest(**{**usual, "guidance_scale": 4.0, "sampler": "DPM++ 2M", **fields})


def unwatched() -> Control:
    return Control(cancelled=threading.Event(), previews=threading.Event())
