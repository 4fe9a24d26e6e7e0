"""OpenAI's model names mean the default model, qualities mean steps, and sizes become possible ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from openai.types import ImageModel

from imagegen.api.openai.aliases import ResolvedBody, find_model, is_openai_name, resolve_body
from imagegen.api.openai.quality import get_steps, list_steps
from imagegen.api.openai.requests import GenerationAsked, convert_openai_request
from imagegen.api.openai.sizes import find_nearest_size
from imagegen.errors import UnknownModel
from imagegen.model_manager import ModelManager
from imagegen.schema.models import Capabilities
from imagegen.schema.receipt import RequestedAs
from imagegen.schema.request import GenerationRequest
from imagegen.settings import Settings
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelManager:
    folder = tmp_path_factory.mktemp("models")
    return InProcessStudio(Settings(data_dir=folder / "data"), folder).service.model_manager


def resolve(models: ModelManager, aliases_enabled: bool = True, **fields: Any) -> ResolvedBody:
    return resolve_body(GenerationAsked(prompt="a red circle", **fields), models, aliases_enabled)


def test_every_model_name_of_openais_client_is_an_alias() -> None:
    names = [name for name in get_args(ImageModel) if isinstance(name, str)]
    assert {"gpt-image-1", "gpt-image-1-mini", "dall-e-2", "dall-e-3"} <= set(names)
    assert all(is_openai_name(name) for name in names)


@pytest.mark.parametrize("name", ["embedded", "owner/gpt-image-1", "gpt-image-", "dall-e", "gpt-image-1/x", "", None])
def test_other_names_are_no_aliases(name: str | None) -> None:
    assert not is_openai_name(name)


async def test_an_alias_is_the_default_model_with_a_size_that_it_can_make(models: ModelManager) -> None:
    resolved = resolve(models, model="gpt-image-1", size="1536x1024")
    assert convert_openai_request(resolved.body) == GenerationRequest(prompt="a red circle", width=504, height=336)
    assert resolved.requested == RequestedAs(model="gpt-image-1", size="1536x1024")


@pytest.mark.parametrize("size", [None, "auto", "256x256", "512x512"])
async def test_a_size_that_the_model_can_make_stays(models: ModelManager, size: str | None) -> None:
    resolved = resolve(models, model="dall-e-3", size=size)
    assert resolved.body.size == size
    assert resolved.requested == RequestedAs(model="dall-e-3")


async def test_without_an_alias_nothing_is_replaced(models: ModelManager) -> None:
    resolved = resolve(models, model="embedded", size="1024x1024")
    assert (resolved.body.size, resolved.requested) == ("1024x1024", None)


async def test_aliases_can_be_switched_off(models: ModelManager) -> None:
    request = convert_openai_request(resolve(models, aliases_enabled=False, model="dall-e-3").body)
    assert request.model == "dall-e-3"
    with pytest.raises(UnknownModel):
        resolve(models, aliases_enabled=False, model="dall-e-3", quality="low")


async def test_a_model_of_the_studio_comes_before_an_alias_of_the_same_name(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    entry = '[{"id": "dall-e-3", "name": "Mine", "path": "%s", "pipeline": "StableDiffusionPipeline"}]'
    embedded = Path(__file__).parents[2] / "assets" / "models" / "embedded"
    (folder / "catalogue.json").write_text(entry % embedded)
    async with run_in_process_studio(tmp_path) as studio:
        info, _, is_alias = find_model("dall-e-3", studio.service.model_manager, aliases_enabled=True)
    assert (info.id, is_alias) == ("dall-e-3", False)


@pytest.mark.parametrize(
    ("fields", "response_format"),
    [
        ({"model": "dall-e-2"}, "url"),
        ({"model": "dall-e-3", "response_format": "b64_json"}, "b64_json"),
        ({"model": "dall-e-3", "stream": True}, None),
        ({"model": "gpt-image-1"}, None),
        ({"model": "embedded"}, None),
        ({}, None),
    ],
)
async def test_the_answer_has_the_form_that_openai_gives_it(
    models: ModelManager, fields: dict[str, Any], response_format: str | None
) -> None:
    """DALL·E's answers are links unless asked for base64: LangChain relies on it."""
    assert resolve(models, **fields).body.response_format == response_format


@pytest.mark.parametrize(
    ("fields", "steps"),
    [
        ({"quality": "low"}, 10),
        ({"quality": "medium"}, 20),
        ({"quality": "standard", "model": "dall-e-3"}, 20),
        ({"quality": "hd"}, 30),
        ({"quality": "high", "model": "embedded-fast"}, 6),
        ({"quality": "low", "model": "embedded-fast"}, 4),
        ({"quality": "auto"}, None),
        ({}, None),
        ({"quality": "hd", "steps": 7}, 7),
        ({"quality": "hd", "num_inference_steps": 8}, 8),
    ],
)
async def test_a_quality_chooses_the_steps_unless_they_are_given(
    models: ModelManager, fields: dict[str, Any], steps: int | None
) -> None:
    assert convert_openai_request(resolve(models, **fields).body).steps == steps


async def test_a_quality_of_an_unknown_model_is_refused_as_such(models: ModelManager) -> None:
    with pytest.raises(UnknownModel, match="^model: there is no 'nobody' here"):
        resolve(models, model="nobody", quality="low")


def test_steps_of_a_quality_stay_in_their_range() -> None:
    assert list_steps(1) == {"low": 1, "medium": 1, "high": 2, "xhigh": 2, "max": 3}
    assert list_steps(9) == {"low": 5, "medium": 9, "high": 14, "xhigh": 18, "max": 27}
    assert get_steps(100, "max") == 150


def make_capabilities(max_side: int = 512, multiple: int = 8) -> Capabilities:
    return Capabilities(samplers=("Euler",), multiple=multiple, max_side=max_side)


@pytest.mark.parametrize(
    ("size", "nearest"),
    [
        ((256, 128), (256, 128)),
        ((1024, 1024), (512, 512)),
        ((1792, 1024), (504, 288)),
        ((1024, 1792), (288, 504)),
        ((1536, 1024), (504, 336)),
        ((1000, 1000), (512, 512)),
        ((300, 300), (296, 296)),
        ((16, 16), (64, 64)),
        ((32, 48), (64, 96)),
        ((4096, 128), (512, 64)),
        ((1, 99999), (64, 512)),
    ],
)
def test_the_nearest_size_has_the_same_shape(size: tuple[int, int], nearest: tuple[int, int]) -> None:
    assert find_nearest_size(*size, make_capabilities()) == nearest


@pytest.mark.parametrize("max_side", [512, 1000, 1024, 1280, 2048])
@pytest.mark.parametrize("multiple", [8, 16, 32])
@pytest.mark.parametrize("size", [(1024, 1024), (1536, 1024), (1024, 1536), (1792, 1024), (3840, 2160), (999, 333)])
def test_every_size_of_openai_has_one_that_every_model_can_make(
    size: tuple[int, int], multiple: int, max_side: int
) -> None:
    width, height = find_nearest_size(*size, make_capabilities(max_side, multiple))
    assert all(64 <= side <= max_side and side % multiple == 0 for side in (width, height))
    assert width / height == pytest.approx(size[0] / size[1], rel=0.05)
    assert max(width, height) >= min(max(size), max_side) * 3 / 4


def test_aliases_are_on_by_default() -> None:
    assert Settings().openai_aliases is True
