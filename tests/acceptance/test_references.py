"""Reference pictures through every API and on the page, what is refused, and the list of IP-Adapters."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image, ImageDraw
from playwright.sync_api import Locator, Page, expect

from tests.acceptance.conftest import ROOT, TIMEOUT_MILLISECONDS, Studio
from tests.acceptance.test_inpainting import encode, to_base64
from tests.acceptance.test_page import current_tab, generate, page, screenshot, seed_field, shown_picture
from tests.acceptance.test_parity import (
    Door,
    DoorResult,
    Fields,
    Refused,
    by_hugging_face,
    by_job,
    by_mcp,
    by_openai,
    by_rest,
    by_websocket,
    read_door_result,
)
from tests.hub.ip_adapters import save_image_encoder, save_ip_adapter
from tests.hub.tiny import TINY

__all__ = ["page"]
EMBEDDED = ROOT / "assets" / "models" / "embedded"
KLEIN = "tiny-flux2-klein"
PICTURE = Image.new("RGB", (96, 96), "navy")
ImageDraw.Draw(PICTURE).ellipse((12, 20, 52, 76), fill="gold")
OTHER = Image.linear_gradient("L").resize((96, 96)).convert("RGB")
PLAIN: Fields = {"prompt": "a red circle", "seed": 9, "steps": 3, "width": 64, "height": 64}
REFERENCE: Fields = {"image": to_base64(PICTURE), "ip_adapter": "mine", "weight": 0.5}
LIKE: Fields = PLAIN | {"references": [REFERENCE]}


@pytest.fixture(autouse=True, scope="module")
def models(studio: Studio) -> Iterator[None]:
    """IP-Adapters in the models folder of the studio, one for the embedded model, and a model that needs none."""
    folder = studio.models_dir / "ip_adapters"
    TINY["tiny-sd15"](studio.models_dir / "sd15")
    TINY[KLEIN](studio.models_dir / KLEIN)
    save_image_encoder(folder / "image_encoder")
    save_ip_adapter(EMBEDDED, folder / "mine.safetensors")
    save_ip_adapter(studio.models_dir / "sd15", folder / "other.safetensors", is_plus=True)
    (folder / "old.bin").write_bytes(b"pickle")
    yield
    for name in (KLEIN, "sd15"):
        httpx.post(f"{studio.url}/v1/models/unload", json={"model": name}, timeout=60)
        shutil.rmtree(studio.models_dir / name)
    shutil.rmtree(folder)


def by_gradio_client(studio: Studio, fields: Fields) -> DoorResult:
    (file := studio.data_dir / "reference.png").write_bytes(encode(PICTURE))
    sent = [{**entry, "image": handle_file(file)} for entry in fields["references"]]
    try:
        picture, receipt = Client(studio.url, verbose=False).predict(
            **fields | {"references": sent}, api_name="/txt2img"
        )
    except AppError as error:
        raise Refused(error.title, str(error)) from error
    return read_door_result(Path(picture).read_bytes(), receipt)


def by_automatic1111(studio: Studio, fields: Fields) -> DoorResult:
    """IP-Adapters are units of the ControlNet extension."""
    units = [
        {"module": "ip-adapter-auto", "model": entry.get("ip_adapter"), **{name: entry[name] for name in entry}}
        for entry in fields["references"]
    ]
    body = {name: value for name, value in fields.items() if name != "references"}
    body["alwayson_scripts"] = {"ControlNet": {"args": units}}
    answer = httpx.post(f"{studio.url}/sdapi/v1/txt2img", json=body, timeout=60).json()
    if "error" in answer:
        raise Refused(answer["error"], answer["errors"])
    return read_door_result(base64.b64decode(answer["images"][0]), json.loads(answer["info"])["receipts"][0])


DOORS: tuple[Door, ...] = (
    by_rest,
    by_job,
    by_websocket,
    by_gradio_client,
    by_openai,
    by_automatic1111,
    by_hugging_face,
    by_mcp,
)


@pytest.fixture(scope="module")
def first(studio: Studio) -> DoorResult:
    return by_rest(studio, LIKE)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_the_same_request_gives_the_same_picture_and_the_same_receipt(
    studio: Studio, first: DoorResult, door: Door
) -> None:
    through = door(studio, LIKE)
    assert through.receipt == through.returned_receipt == first.receipt
    assert through.pixels == first.pixels


def test_the_receipt_makes_the_picture_again(studio: Studio, first: DoorResult) -> None:
    (used,) = first.receipt["references"]
    assert (used["ip_adapter"], used["weight"]) == ("mine", 0.5)
    assert len(used["sha256"]) == len(used["image_encoder_sha256"]) == 64
    reference = {name: used[name] for name in REFERENCE}
    names = (*PLAIN, "guidance_scale", "sampler")
    again = by_rest(studio, {name: first.receipt[name] for name in names} | {"references": [reference]})
    assert again.pixels == first.pixels, "the stored picture can be named by its id"
    assert by_rest(studio, PLAIN).pixels != first.pixels


PROBLEMS: dict[str, tuple[list[Fields], str]] = {
    "another architecture": (
        [REFERENCE | {"ip_adapter": "other"}],
        r"references\[0\].ip_adapter.*was made for Stable Diffusion 1",
    ),
    "weight": ([REFERENCE | {"weight": 3}], r"references\[0\].weight.*must be between 0 and 2"),
    "unknown": ([REFERENCE | {"ip_adapter": "nothing"}], r"references\[0\].ip_adapter.*nothing"),
    "pickle": ([REFERENCE | {"ip_adapter": "old.bin"}], r"references\[0\].ip_adapter.*pickle"),
    "no IP-Adapter": (
        [{"image": REFERENCE["image"]}],
        r"references\[0\].ip_adapter.*is required with the model embedded",
    ),
    "too many": ([REFERENCE] * 5, "references.*must have at most 4 entries"),
}
# The API of the web UI names the units.
NAMES = {r"references\[0\].ip_adapter": r"args\[0\].model", r"references\[0\]": r"args\[0\]"}


@pytest.mark.parametrize(
    ("door", "case"),
    [
        *((door, case) for door in DOORS for case in list(PROBLEMS)[:2]),
        *((by_rest, each) for each in list(PROBLEMS)[2:]),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_what_is_wrong_is_refused_by_the_name_of_the_field(studio: Studio, door: Door, case: str) -> None:
    references, problem = PROBLEMS[case]
    with pytest.raises(Refused) as caught:
        door(studio, PLAIN | {"references": references})
    for name, own in NAMES.items() if door is by_automatic1111 else ():
        problem = problem.replace(name, own)
    assert_matches(problem, caught.value.message)


@pytest.mark.parametrize("image", [base64.b64encode(b"no picture").decode(), to_base64(Image.new("L", (5000, 4000)))])
def test_a_picture_that_is_none_or_is_too_large_is_refused(studio: Studio, image: str) -> None:
    for door in (by_rest, by_openai):
        with pytest.raises(Refused) as caught:
            door(studio, PLAIN | {"references": [REFERENCE, REFERENCE | {"image": image}]})
        assert_matches(r"references\[1\].image.*must (be a whole picture|have at most)", caught.value.message)


def assert_matches(pattern: str, text: str) -> None:
    with pytest.raises(Refused, match=pattern):
        raise Refused(text)


def test_they_are_listed_in_each_api(studio: Studio) -> None:
    listed = httpx.get(f"{studio.url}/v1/ip_adapters/list").json()
    assert [(each["id"], each["architecture"]) for each in listed] == [
        ("mine", "Stable Diffusion of width 128"),
        ("other", "Stable Diffusion 1"),
    ]
    assert Client(studio.url, verbose=False).predict(api_name="/list_ip_adapters") == listed
    loaded = httpx.post(f"{studio.url}/v1/ip_adapters/load", json={"ip_adapter": "mine"}, timeout=60).json()
    assert loaded == listed[0]
    assert httpx.post(f"{studio.url}/v1/ip_adapters/unload", json={"ip_adapter": "mine"}).json()["unloaded"] == "mine"
    models = {each["model"]["id"]: each["abilities"] for each in httpx.get(f"{studio.url}/v1/models/list").json()}
    names = ("reference pictures", "IP-Adapters")
    assert [models[KLEIN][name] for name in names] == [True, False]
    assert [models["embedded"][name] for name in names] == [True, True]


def edit(studio: Studio, *pictures: bytes, model: str = KLEIN) -> Any:
    client = openai.OpenAI(base_url=f"{studio.url}/v1", api_key="none", max_retries=0)
    try:
        return client.images.edit(
            image=[(f"{number}.png", picture) for number, picture in enumerate(pictures)],
            prompt=PLAIN["prompt"],
            size="64x64",
            model=model,
            extra_body={"steps": 2, "seed": 9},
        ).model_dump()
    except openai.APIStatusError as error:
        raise Refused(error.code, error.message) from error


def test_several_pictures_of_an_openai_edit_are_a_start_image_and_references(studio: Studio) -> None:
    answer = edit(studio, encode(OTHER), encode(PICTURE), encode(OTHER))
    (receipt,) = answer["receipts"]
    references = [to_base64(PICTURE), to_base64(OTHER)]
    sent = PLAIN | {"model": KLEIN, "steps": 2, "init_image": to_base64(OTHER)}
    body = sent | {"references": [{"image": image} for image in references]}
    rest = httpx.post(f"{studio.url}/v1/img2img", json=body, timeout=60).json()
    assert rest["receipt"] == receipt and len(receipt["references"]) == 2
    assert answer["data"][0]["b64_json"] == rest["image_b64"]
    with pytest.raises(Refused, match="^invalid_request$") as caught:
        edit(studio, *[encode(PICTURE)] * 6)
    assert "image: must be at most 5 pictures" in caught.value.message
    with pytest.raises(Refused) as caught:
        edit(studio, encode(PICTURE), encode(OTHER), model="embedded")
    assert "image: must be one picture with the model embedded" in caught.value.message
    with pytest.raises(Refused) as caught:
        edit(studio, encode(PICTURE), b"no picture")
    assert "image: must be a whole picture" in caught.value.message


def test_one_of_the_hub_is_loaded_with_the_image_encoder_that_fits(hub_studio: Studio) -> None:
    url, file = f"{hub_studio.url}/v1/ip_adapters", "studio/ip-adapter/others/ip-adapter-plus.safetensors"
    body = PLAIN | {"references": [REFERENCE | {"ip_adapter": file}]}
    refused = httpx.post(f"{hub_studio.url}/v1/txt2img", json=body, timeout=60).json()["error"]
    assert (refused["code"], refused["field"]) == ("not_on_disk", "references[0].ip_adapter")
    whole = httpx.post(f"{url}/load", json={"ip_adapter": "studio/ip-adapter"}, timeout=60).json()["error"]
    assert whole["field"] == "ip_adapter" and "it has several files" in whole["message"]
    loaded = httpx.post(f"{url}/load", json={"ip_adapter": file}, timeout=60).json()
    assert (loaded["id"], loaded["architecture"], loaded["deletable"]) == (file, "Stable Diffusion 1", True)
    snapshots = hub_studio.data_dir.parent / "models" / "hub"
    weights = sorted(each.relative_to(snapshots).parts[-3:] for each in snapshots.rglob("*.safetensors"))
    names = {"/".join(parts[-2:]) for parts in weights if "ip-adapter" in parts[-1] or "image_encoder" in parts}
    assert names == {"others/ip-adapter-plus.safetensors", "image_encoder/model.safetensors"}
    assert ("models", "image_encoder", "model.safetensors") in weights, "that beside it has another width"
    wrong = httpx.post(f"{url}/load", json={"ip_adapter": "studio/vae"}, timeout=60).json()["error"]
    assert wrong["field"] == "ip_adapter" and "it contains no IP-Adapter" in wrong["message"]
    assert httpx.post(f"{url}/unload", json={"ip_adapter": file, "delete": True}).json()["deleted"] is True


def find_panel(page: Page) -> Locator:
    return current_tab(page).get_by_role("region", name="Reference pictures")


def add_picture(page: Page, file: Path) -> None:
    with page.expect_file_chooser() as chooser:
        find_panel(page).get_by_role("button", name="Add a reference picture").click()
    chooser.value.set_files(file)


def read_references(page: Page) -> list[Fields]:
    text = page.locator("#field-references textarea").input_value()
    return json.loads(text) if text else []


def choose_model(page: Page, name: str) -> None:
    field = current_tab(page).get_by_role("combobox", name="Model", exact=True)
    field.click()
    page.get_by_role("listbox").get_by_role("option", name=name, exact=True).click()


def test_a_picture_is_like_one_that_was_added_on_the_page(page: Page, tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(encode(PICTURE))
    seed_field(page).fill("5")
    seed_field(page).press("Tab")
    generate(page)
    plain = shown_picture(page).tobytes()
    add_picture(page, tmp_path / "picture.png")
    expect(find_panel(page).get_by_role("article")).to_have_count(1, timeout=TIMEOUT_MILLISECONDS)
    weight = find_panel(page).get_by_role("slider", name="Weight")
    weight.focus()
    weight.press("ArrowLeft")
    expect(find_panel(page).get_by_label("IP-Adapter")).to_have_value("mine")
    (reference,) = read_references(page)
    assert (reference["ip_adapter"], reference["weight"]) == ("mine", 0.95)
    find_panel(page).scroll_into_view_if_needed()
    screenshot(page, "references")
    generate(page)
    like = shown_picture(page).tobytes()
    assert like != plain
    expect(current_tab(page).locator(".block.details")).to_contain_text("mine 0.95")
    find_panel(page).get_by_role("button", name="Remove").click()
    assert read_references(page) == []
    current_tab(page).get_by_role("button", name="Reuse settings").click()
    expect(find_panel(page).get_by_role("article")).to_have_count(1)
    assert read_references(page) == [reference]
    page.reload()
    expect(find_panel(page).get_by_role("article")).to_have_count(1, timeout=TIMEOUT_MILLISECONDS)
    assert read_references(page) == [reference]


def test_a_model_that_looks_itself_has_neither_ip_adapter_nor_weight(page: Page, tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(encode(PICTURE))
    add_picture(page, tmp_path / "picture.png")
    expect(find_panel(page).get_by_label("IP-Adapter")).to_have_count(1, timeout=TIMEOUT_MILLISECONDS)
    choose_model(page, KLEIN)
    expect(find_panel(page).get_by_label("IP-Adapter")).to_have_count(0, timeout=TIMEOUT_MILLISECONDS)
    expect(find_panel(page).get_by_role("slider")).to_have_count(0)
    assert [list(each) for each in read_references(page)] == [["image"]]
    choose_model(page, "Embedded")
    expect(find_panel(page).get_by_label("IP-Adapter")).to_have_value("mine", timeout=TIMEOUT_MILLISECONDS)


def test_upscaling_has_none(page: Page) -> None:
    page.get_by_role("tab", name="Upscale", exact=True).click()
    expect(page.get_by_role("region", name="Reference pictures")).to_be_hidden()
