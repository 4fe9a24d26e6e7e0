"""Parts that a detector finds are painted again: through every API, on the page, what is refused, and the list."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import webuiapi
from gradio_client import Client
from PIL import Image
from playwright.sync_api import Page, expect

from tests.acceptance.conftest import TIMEOUT_MILLISECONDS, Studio
from tests.acceptance.test_page import current_tab, generate, page, shown_picture
from tests.acceptance.test_parity import (
    DOORS,
    Door,
    DoorResult,
    Fields,
    Refused,
    by_automatic1111,
    by_rest,
    read_door_result,
)
from tests.hub.detectors import save_yolos

__all__ = ["page"]
PLAIN: Fields = {"prompt": "a red circle on a blue background", "seed": 9, "steps": 4, "width": 128, "height": 128}
SETTINGS: Fields = {
    "detail_detector": "middle",
    "detail_label": "face",
    "detail_prompt": "a yellow star",
    "detail_strength": 0.75,
    "detail_confidence": 0.5,
    "detail_padding": 16,
}
DETAILED: Fields = PLAIN | SETTINGS
BOX = [44, 44, 84, 84]
# Beyond it, a mask that is softened by 4 pixels is black.
SOFT_EDGE = 12


@pytest.fixture(autouse=True, scope="module")
def detectors(studio: Studio) -> Iterator[None]:
    """A detector in the models folder of the studio."""
    folder = studio.models_dir / "detectors"
    save_yolos(folder / "middle", [(0.5, 0.5, 0.3, 0.3)])
    (folder / "old.pt").write_bytes(b"pickle")
    yield
    shutil.rmtree(folder)


def by_adetailer(studio: Studio, fields: Fields) -> DoorResult:
    """Sends a tab of ADetailer."""
    names = {
        "detail_detector": "ad_model",
        "detail_label": "ad_model_classes",
        "detail_prompt": "ad_prompt",
        "detail_strength": "ad_denoising_strength",
        "detail_confidence": "ad_confidence",
        "detail_padding": "ad_inpaint_only_masked_padding",
    }
    tab = {names[name]: value for name, value in fields.items() if name in names}
    body: Any = {name: value for name, value in fields.items() if name not in names}
    body["alwayson_scripts"] = {"ADetailer": {"args": [True, False, tab]}}
    answer = httpx.post(f"{studio.url}/sdapi/v1/txt2img", json=body, timeout=60).json()
    if "error" in answer:
        raise Refused(answer["error"], answer["errors"])
    return read_door_result(base64.b64decode(answer["images"][0]), json.loads(answer["info"])["receipts"][0])


OWN_DOORS = tuple(by_adetailer if door is by_automatic1111 else door for door in DOORS)


@pytest.fixture(scope="module")
def first(studio: Studio) -> DoorResult:
    return by_rest(studio, DETAILED)


@pytest.mark.parametrize("door", OWN_DOORS, ids=lambda door: door.__name__)
def test_the_same_request_gives_the_same_picture_and_the_same_receipt(
    studio: Studio, first: DoorResult, door: Door
) -> None:
    through = door(studio, DETAILED)
    assert through.receipt == through.returned_receipt == first.receipt
    assert through.pixels == first.pixels


def find_changes(pixels: bytes, others: bytes) -> list[int]:
    """Returns the left, top, right and bottom of all that differs between two pictures."""
    pictures = (Image.frombytes("RGB", (128, 128), each) for each in (pixels, others))
    first, second = (np.asarray(picture, np.int16) for picture in pictures)
    rows, columns = np.nonzero(np.abs(first - second).max(axis=2))
    return [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]


def test_the_receipt_makes_the_picture_again_and_no_other_pixel_changes(studio: Studio, first: DoorResult) -> None:
    assert {name: first.receipt[name] for name in SETTINGS} == SETTINGS
    assert first.receipt["detail_boxes"] == [BOX] and len(first.receipt["detail_detector_sha256"]) == 64
    names = (*DETAILED, "guidance_scale", "sampler")
    assert by_rest(studio, {name: first.receipt[name] for name in names}).pixels == first.pixels
    plain = by_rest(studio, PLAIN)
    assert (plain.receipt["detail_detector"], plain.receipt["detail_boxes"]) == (None, None)
    changed = find_changes(first.pixels, plain.pixels)
    assert all(BOX[side] - SOFT_EDGE <= changed[side] <= BOX[side] + 4 for side in (0, 1))
    assert all(BOX[side] - 4 <= changed[side] <= BOX[side] + SOFT_EDGE for side in (2, 3))


def test_the_detector_that_is_shipped_finds_no_face_in_a_red_circle(studio: Studio) -> None:
    found, plain = by_rest(studio, PLAIN | {"detail_detector": "faces"}), by_rest(studio, PLAIN)
    assert (found.receipt["detail_boxes"], found.pixels) == ([], plain.pixels)


@pytest.mark.parametrize("door", OWN_DOORS, ids=lambda door: door.__name__)
@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            {"detail_detector": "nothing"},
            "(detail_detector|ad_model): there is no 'nothing' here.*middle, faces",
        ),
        ({"detail_detector": "old.pt"}, "(detail_detector|ad_model).*it is a pickle"),
        (
            {"detail_label": "foot"},
            "(detail_label|ad_model_classes): must be one of face, hand with the detector",
        ),
        ({"detail_strength": 0}, "(detail_strength|ad_denoising_strength): must be greater than 0 and at most 1"),
    ],
    ids=("unknown", "pickle", "label", "strength"),
)
def test_what_is_wrong_is_refused_by_the_name_of_the_field(
    studio: Studio, door: Door, fields: Fields, problem: str
) -> None:
    with pytest.raises(Refused) as caught:
        door(studio, DETAILED | fields)
    assert re.search(problem, caught.value.message), caught.value.message


def test_a_setting_needs_a_detector(studio: Studio) -> None:
    with pytest.raises(Refused) as caught:
        by_rest(studio, PLAIN | {"detail_prompt": "a star"})
    assert caught.value.message == "detail_prompt: needs a detail_detector"


def test_a_client_of_the_web_ui_sends_adetailer(studio: Studio, first: DoorResult) -> None:
    client = webuiapi.WebUIApi(baseurl=f"{studio.url}/sdapi/v1")
    assert client.has_adetailer
    tab = webuiapi.ADetailer(
        ad_model="middle",
        ad_model_classes="face",
        ad_prompt="a yellow star",
        ad_denoising_strength=0.75,
        ad_confidence=0.5,
        ad_inpaint_only_masked_padding=16,
    )
    options = {name: first.receipt[name] for name in ("seed", "steps", "width", "height")}
    sampler = {"sampler_name": first.receipt["sampler"], "cfg_scale": first.receipt["guidance_scale"]}
    result = client.txt2img(prompt=PLAIN["prompt"], adetailer=[tab], scheduler="Uniform", **options, **sampler)
    assert result.info["receipts"][0] == first.receipt
    assert result.image.convert("RGB").tobytes() == first.pixels
    assert "ADetailer model: middle" in result.info["infotexts"][0]


def test_they_are_listed_in_each_api(studio: Studio) -> None:
    listed = httpx.get(f"{studio.url}/v1/detectors/list").json()
    assert [(each["id"], each["architecture"], each["labels"]) for each in listed] == [
        ("middle", "YolosForObjectDetection", ["face", "hand"]),
        ("faces", "MTCNN", ["face"]),
    ]
    assert Client(studio.url, verbose=False).predict(api_name="/list_detectors") == listed
    loaded = httpx.post(f"{studio.url}/v1/detectors/load", json={"detector": "middle"}, timeout=60).json()
    assert loaded == listed[0]
    assert httpx.post(f"{studio.url}/v1/detectors/unload", json={"detector": "middle"}).json()["unloaded"] == "middle"


def test_one_of_the_hub_is_loaded_with_its_configurations_and_deleted(hub_studio: Studio) -> None:
    name, url = "studio/detector", f"{hub_studio.url}/v1/detectors"
    body = PLAIN | {"detail_detector": name}
    refused = httpx.post(f"{hub_studio.url}/v1/txt2img", json=body, timeout=60).json()["error"]
    assert (refused["code"], refused["field"]) == ("not_on_disk", "detail_detector")
    loaded = httpx.post(f"{url}/load", json={"detector": name}, timeout=60).json()
    assert (loaded["id"], loaded["labels"], loaded["deletable"]) == (name, ["face", "hand"], True)
    (weights,) = (hub_studio.data_dir.parent / "models" / "hub").rglob(
        "models--studio--detector/snapshots/*/*.safetensors"
    )
    names = {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert {file.name for file in weights.parent.iterdir() if file.name in names | {"training_args.bin"}} == names
    answer = httpx.post(f"{hub_studio.url}/v1/txt2img", json=body, timeout=60).json()
    assert answer["receipt"]["detail_boxes"] == [BOX]
    wrong = httpx.post(f"{url}/load", json={"detector": "studio/upscaler-pickle"}, timeout=60).json()["error"]
    assert wrong["field"] == "detector" and "pickles are never loaded" in wrong["message"]
    unloaded = httpx.post(f"{url}/unload", json={"detector": name, "delete": True}).json()
    assert unloaded == {"unloaded": name, "deleted": True}


def test_one_is_chosen_on_the_page_and_settings_are_used_again(page: Page) -> None:
    seed = current_tab(page).locator("#field-seed textarea, #field-seed input").first
    seed.fill("5")
    seed.press("Tab")
    generate(page)
    plain = shown_picture(page).convert("RGB")
    section = current_tab(page).get_by_role("button", name="Detailer")
    assert "middle" not in section.aria_snapshot()
    section.click()
    field = current_tab(page).get_by_role("combobox", name="Detail detector", exact=True)
    field.click()
    options = page.get_by_role("listbox").get_by_role("option")
    expect(options).to_have_text([re.compile("Nothing$"), re.compile("middle$"), re.compile("Faces$")])
    options.filter(has_text="middle").click()
    generate(page)
    assert shown_picture(page).convert("RGB").tobytes() != plain.tobytes()
    expect(current_tab(page).locator(".block.details")).to_contain_text("middle")
    page.reload()
    expect(current_tab(page).get_by_role("button", name="Generate")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    expect(section).to_have_accessible_name(re.compile("middle$"), timeout=TIMEOUT_MILLISECONDS)
    section.click()
    expect(field).to_have_value("middle", timeout=TIMEOUT_MILLISECONDS)
    field.click()
    options.filter(has_text="Nothing").click()
    current_tab(page).locator("[data-show]").nth(0).click()
    current_tab(page).get_by_role("button", name="Reuse settings").click()
    expect(field).to_have_value("middle", timeout=TIMEOUT_MILLISECONDS)
