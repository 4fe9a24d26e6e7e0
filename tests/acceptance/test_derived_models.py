"""A model whose family is derived from its pipeline class, through every API."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import httpx
import pytest

from tests.acceptance.conftest import Studio
from tests.acceptance.test_parity import DOORS, Door, DoorResult, Fields, Refused, by_rest
from tests.hub.tiny import TINY_DERIVED

MODEL = "ChromaPipeline"
FIELDS: Fields = {
    "prompt": "a red circle",
    "negative_prompt": "green",
    "width": 96,
    "height": 64,
    "steps": 2,
    "guidance_scale": 3.5,
    "seed": 11,
    "model": MODEL,
}


@pytest.fixture(autouse=True, scope="module")
def model(studio: Studio) -> Iterator[None]:
    """The model of this module, in the models folder of the studio."""
    TINY_DERIVED[MODEL](studio.models_dir / MODEL)
    yield
    httpx.post(f"{studio.url}/v1/models/unload", json={"model": MODEL}, timeout=60)
    shutil.rmtree(studio.models_dir / MODEL)


@pytest.fixture(scope="module")
def first(studio: Studio) -> DoorResult:
    return by_rest(studio, FIELDS)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_the_same_request_gives_the_same_picture_and_receipt(studio: Studio, first: DoorResult, door: Door) -> None:
    through = door(studio, FIELDS)
    assert through.receipt == through.returned_receipt == first.receipt
    assert through.pixels == first.pixels
    assert first.receipt["sampler"] == "Default" and first.receipt["model_id"] == MODEL


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_what_the_model_cannot_do_is_refused_by_name(studio: Studio, door: Door) -> None:
    with pytest.raises(Refused, match=r".") as refused:
        door(studio, FIELDS | {"step_cache": 0.1})
    assert "step_cache: " in refused.value.message
