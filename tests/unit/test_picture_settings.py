"""Pictures of other tools: their settings under the fields of a request, and what is said of those that differ."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from imagegen.media.metadata import notes
from imagegen.picture_settings.reader import read_picture_settings
from imagegen.schema.base import User
from imagegen.schema.picture_settings import PictureSettings
from imagegen.schema.validation import fill_in_defaults, parse_request
from tests.doubles import make_receipt
from tests.support import tool_pictures as tools
from tests.support.picture_files import write_png
from tests.support.tool_cases import CASES, NEON, Case
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio

pytestmark = pytest.mark.asyncio(loop_scope="module")
USER = User(id="somebody")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def studio(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[InProcessStudio]:
    async with run_in_process_studio(tmp_path_factory.mktemp("studio"), requests_per_minute=10_000) as studio:
        yield studio


async def read(studio: InProcessStudio, content: bytes) -> PictureSettings:
    return await read_picture_settings(studio.service, content, USER)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_settings_are_read_and_what_differs_is_named(studio: InProcessStudio, case: Case) -> None:
    answer = await read(studio, case.content)
    assert answer.tool == case.tool
    assert answer.settings == case.settings
    assert {each.source: each.note for each in answer.fields if each.status == "mapped"} == case.mapped
    missing = {each.source: (each.field, each.note) for each in answer.fields if each.status == "missing"}
    assert missing == case.missing
    assert_settings_are_a_request(answer, studio)


def assert_settings_are_a_request(answer: PictureSettings, studio: InProcessStudio) -> None:
    """The request is valid as it is, and each of its fields is listed with its value."""
    request = parse_request(answer.settings)
    fill_in_defaults(request, studio.service.model_manager.resolve_model(request.model)[0], seed=1)
    listed = {each.field for each in answer.fields if each.status != "missing"}
    assert {name for name, value in answer.settings.items() if (name, value) != ("prompt", "")} <= listed


async def test_there_are_pictures_of_all_tools() -> None:
    assert len(CASES) >= 40 and len({case.content for case in CASES}) == len(CASES)


async def test_a_model_with_another_name_is_found_by_its_checksum(studio: InProcessStudio) -> None:
    manager = studio.service.model_manager
    sha256 = manager.compute_model_sha256(manager.resolve_model("embedded")[1])
    assert sha256 is not None
    content = tools.write_infotext(f"{tools.SETTINGS}, RNG: CPU, Model hash: {sha256[:10]}, Model: my own")
    answer = await read(studio, content)
    assert answer.settings["model"] == "embedded"
    (model,) = [each for each in answer.fields if each.field == "model"]
    assert (model.status, model.note) == ("matched", notes.FOUND_BY_CHECKSUM)
    other = await read(studio, tools.write_infotext(f"{tools.SETTINGS}, Model hash: 0123456789, Model: embedded"))
    assert ("mapped", notes.OTHER_FILE) in [(each.status, each.note) for each in other.fields]


async def test_a_picture_without_settings_has_none(studio: InProcessStudio) -> None:
    for content in (write_png({}), write_png({"Comment": "Created with GIMP", "parameters": "a text, of: nobody"})):
        assert await read(studio, content) == PictureSettings(tool=None, settings={}, fields=())


async def test_own_receipts_are_read_whole(studio: InProcessStudio) -> None:
    receipt = make_receipt(
        loras=[{"lora": "neon", "weight": 0.5, "sha256": "0" * 64}], hires_scale=2, hires_strength=0.5
    )
    answer = await read(studio, write_png({"receipt": receipt.model_dump()}))
    assert answer.tool == "Image Studio"
    assert answer.settings == {
        "prompt": "a red circle", "width": 128, "height": 128, "steps": 20, "guidance_scale": 3.0,
        "sampler": "DPM++ 2M", "seed": 7, "model": "embedded", "loras": [NEON], "hires_scale": 2.0,
        "hires_strength": 0.5,
    }  # fmt: skip
    assert not [each for each in answer.fields if each.status == "missing"]


async def test_receipts_of_the_future_name_what_is_new(studio: InProcessStudio) -> None:
    receipt = make_receipt(detail_detector="faces").model_dump()
    future = receipt | {"style_strength": 0.3, "hires_scale": 99, "sampler": "Newest", "versions": {"studio": "9.0"}}
    answer = await read(studio, write_png({"receipt": future}))
    assert answer.version == "9.0"
    missing = {each.source: (each.field, each.note) for each in answer.fields if each.status == "missing"}
    assert missing == {"style_strength": (None, notes.NO_SUCH_SETTING), "sampler": ("sampler", notes.NO_SAMPLER)}
    assert answer.settings["hires_scale"] == 4


async def test_pictures_of_others_are_not_named(studio: InProcessStudio) -> None:
    stranger = await studio.service.add_input(write_png({}), User(id="another"), "init_image")
    own = await studio.service.add_input(write_png({"own": "x"}), USER, "init_image")
    assert stranger == own  # The same pixels.
    gone = make_receipt(init_image="f" * 64, strength=0.5).model_dump()
    answer = await read(studio, write_png({"receipt": gone}))
    assert "init_image" not in answer.settings and "strength" not in answer.settings
    assert notes.PICTURE_GONE in [each.note for each in answer.fields if each.field == "init_image"]
    kept = await read(studio, write_png({"receipt": gone | {"init_image": own}}))
    assert (kept.settings["init_image"], kept.settings["strength"]) == (own, 0.5)


async def test_a_picture_that_is_too_large_keeps_its_proportions(studio: InProcessStudio) -> None:
    answer = await read(studio, tools.write_infotext(f"{tools.SETTINGS.replace('128x96', '4096x2048')}, RNG: CPU"))
    most = studio.service.model_manager.get_default().can.max_side
    assert answer.settings["width"] == most and answer.settings["height"] == most // 2
