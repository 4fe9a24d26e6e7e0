"""Another VAE than the model's own: through every API, on the page, what is refused, and the list of VAEs."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from gradio_client import Client
from playwright.sync_api import Page, expect

from tests.acceptance.conftest import ROOT, TIMEOUT_MILLISECONDS, Studio
from tests.acceptance.test_page import current_tab, generate, open_settings, page, screenshot, shown_picture
from tests.acceptance.test_parity import DOORS, Door, DoorResult, Fields, Refused, by_rest
from tests.hub.vaes import tint_vae

__all__ = ["page"]
OWN = ROOT / "assets" / "models" / "embedded" / "vae"
PLAIN: Fields = {"prompt": "a red circle on a blue background", "seed": 9, "steps": 3, "width": 64, "height": 64}
WITH_VAE: Fields = PLAIN | {"vae": "warm"}


@pytest.fixture(autouse=True, scope="module")
def vaes(studio: Studio) -> Iterator[None]:
    """The VAEs of this module, in the models folder of the studio: one that fits the model, and one that does not."""
    folder = studio.models_dir / "vaes"
    tint_vae(OWN, folder / "warm")
    tint_vae(OWN, folder / "other", scaling_factor=0.18215)
    (folder / "old.vae.pt").write_bytes(b"pickle")
    yield
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def first(studio: Studio) -> DoorResult:
    return by_rest(studio, WITH_VAE)


def measure_warmth(pixels: bytes) -> float:
    """Returns how much more red than blue there is, in levels."""
    red, _, blue = np.frombuffer(pixels, np.uint8).reshape(-1, 3).astype(float).mean(axis=0)
    return float(red - blue)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_the_same_request_gives_the_same_picture_and_the_same_receipt(
    studio: Studio, first: DoorResult, door: Door
) -> None:
    through = door(studio, WITH_VAE)
    assert through.receipt == through.returned_receipt == first.receipt
    assert through.pixels == first.pixels


def test_the_receipt_makes_the_picture_again(studio: Studio, first: DoorResult) -> None:
    assert first.receipt["vae"] == "warm" and len(first.receipt["vae_sha256"]) == 64
    names = (*WITH_VAE, "guidance_scale", "sampler")
    again = by_rest(studio, {name: first.receipt[name] for name in names})
    assert again.pixels == first.pixels
    plain = by_rest(studio, PLAIN)
    assert (plain.receipt["vae"], plain.receipt["vae_sha256"]) == (None, None)
    assert measure_warmth(first.pixels) > measure_warmth(plain.pixels) + 30


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
@pytest.mark.parametrize(
    ("name", "code", "problem"),
    [
        ("other", "invalid_request", "other has latents with 4 channels for 8 pixels (Stable Diffusion 1 and 2)"),
        ("nothing", "unknown_model", "nothing"),
        ("old.vae.pt", "unusable_model", "it is a pickle"),
    ],
)
def test_what_is_wrong_is_refused_by_the_name_of_the_field(
    studio: Studio, door: Door, name: str, code: str, problem: str
) -> None:
    with pytest.raises(Refused, match=f"^{code}$") as caught:
        door(studio, PLAIN | {"vae": name})
    assert "vae: " in caught.value.message and problem in caught.value.message


def test_they_are_listed_in_each_api(studio: Studio) -> None:
    listed = httpx.get(f"{studio.url}/v1/vaes/list").json()
    assert [(each["id"], each["architecture"]) for each in listed] == [
        ("other", "Stable Diffusion 1 and 2"),
        ("warm", "latents scaled by 1.0008"),
    ]
    assert listed[1]["latents"] == {"channels": 4, "pixels": 8, "architecture": "latents scaled by 1.0008"}
    assert Client(studio.url, verbose=False).predict(api_name="/list_vaes") == listed
    loaded = httpx.post(f"{studio.url}/v1/vaes/load", json={"vae": "warm"}, timeout=60).json()
    assert loaded == listed[1]
    assert httpx.post(f"{studio.url}/v1/vaes/unload", json={"vae": "warm"}).json()["unloaded"] == "warm"
    names = httpx.get(f"{studio.url}/sdapi/v1/sd-vae").json()
    assert [each["model_name"] for each in names] == ["other", "warm"]


def test_the_web_ui_keeps_the_chosen_one_in_its_options(studio: Studio, first: DoorResult) -> None:
    url = f"{studio.url}/sdapi/v1"
    body = {name: value for name, value in PLAIN.items() if name != "vae"}
    assert httpx.get(f"{url}/options").json()["sd_vae"] == "Automatic"
    httpx.post(f"{url}/options", json={"sd_vae": "warm"}).raise_for_status()
    try:
        assert httpx.get(f"{url}/options").json()["sd_vae"] == "warm"
        info = json.loads(httpx.post(f"{url}/txt2img", json=body, timeout=60).json()["info"])
        assert (info["sd_vae_name"], info["receipts"][0]) == ("warm", first.receipt)
        assert info["sd_vae_hash"] == first.receipt["vae_sha256"][:10]
        assert f"VAE hash: {info['sd_vae_hash']}, VAE: warm" in info["infotexts"][0]
        own = body | {"override_settings": {"sd_vae": "None"}}
        info = json.loads(httpx.post(f"{url}/txt2img", json=own, timeout=60).json()["info"])
        assert info["sd_vae_name"] is None
        refused = httpx.post(f"{url}/options", json={"sd_vae": "nothing"})
        assert refused.status_code == 404 and "sd_vae: there is no 'nothing' here" in refused.json()["errors"]
    finally:
        httpx.post(f"{url}/options", json={"sd_vae": "Automatic"}).raise_for_status()
    assert httpx.get(f"{url}/options").json()["sd_vae"] == "Automatic"


def test_one_of_the_hub_is_loaded_and_deleted(hub_studio: Studio) -> None:
    name, url = "studio/vae", f"{hub_studio.url}/v1/vaes"
    refused = httpx.post(f"{hub_studio.url}/v1/txt2img", json=PLAIN | {"vae": name}, timeout=60).json()["error"]
    assert (refused["code"], refused["field"]) == ("not_on_disk", "vae")
    other = httpx.post(f"{hub_studio.url}/v1/loras/load", json={"lora": name}, timeout=60).json()["error"]
    assert other["code"] == "unusable_model", "the page tries each kind, and then has the weights alone"
    loaded = httpx.post(f"{url}/load", json={"vae": name}, timeout=60).json()
    assert (loaded["id"], loaded["architecture"], loaded["deletable"]) == (name, "Stable Diffusion 1 and 2", True)
    wrong = httpx.post(f"{url}/load", json={"vae": "studio/upscaler-pickle"}, timeout=60).json()["error"]
    assert wrong["field"] == "vae" and "pickles are never loaded" in wrong["message"]
    unloaded = httpx.post(f"{url}/unload", json={"vae": name, "delete": True}).json()
    assert unloaded == {"unloaded": name, "deleted": True}
    assert name not in [each["id"] for each in httpx.get(f"{url}/list").json()]


def choose_vae(page: Page, name: str) -> None:
    open_settings(page)
    field = current_tab(page).get_by_role("combobox", name="VAE", exact=True)
    field.click()
    options = page.get_by_role("listbox").get_by_role("option")
    expect(options).to_have_text([re.compile("Automatic$"), re.compile("warm$")])
    options.filter(has_text=name).click()
    expect(field).to_have_value(name)


def test_one_is_chosen_on_the_page_and_a_reload_keeps_it(page: Page) -> None:
    seed = current_tab(page).locator("#field-seed textarea, #field-seed input").first
    seed.fill("5")
    seed.press("Tab")
    generate(page)
    plain = shown_picture(page).convert("RGB")
    choose_vae(page, "warm")
    screenshot(page, "vae")
    generate(page)
    warm = shown_picture(page).convert("RGB")
    assert measure_warmth(warm.tobytes()) > measure_warmth(plain.tobytes()) + 30
    expect(current_tab(page).locator(".block.details")).to_contain_text("warm")
    page.reload()
    expect(current_tab(page).get_by_role("button", name="Generate")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    open_settings(page)
    field = current_tab(page).get_by_role("combobox", name="VAE", exact=True)
    expect(field).to_have_value("warm", timeout=TIMEOUT_MILLISECONDS)
    generate(page)
    assert shown_picture(page).convert("RGB").tobytes() == warm.tobytes()
    choose_vae(page, "Automatic")
    generate(page)
    assert measure_warmth(shown_picture(page).convert("RGB").tobytes()) == measure_warmth(plain.tobytes())
    current_tab(page).locator("[data-show]").nth(1).click()
    expect(current_tab(page).locator(".block.details")).to_contain_text("warm")
    current_tab(page).get_by_role("button", name="Reuse settings").click()
    expect(field).to_have_value("warm")


def test_they_have_cards_beside_the_loras(page: Page) -> None:
    page.get_by_role("tab", name="LoRAs", exact=True).click()
    expect(page.get_by_role("heading", name="VAEs", exact=True)).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    card = page.locator("studio-loras .resource-card[data-id=warm]")
    expect(card).to_contain_text("For latents scaled by 1.0008")
