"""Models and LoRAs as people meet them: in a real browser, with the stand-in behind the studio."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect

from tests.acceptance.conftest import Studio
from tests.acceptance.test_page import PATIENCE, SIZES, desk, fact, generate, screenshot, shown_picture
from tests.hub.server import StandInHub


@pytest.fixture
def page(browser: Browser, stocked: Studio) -> Iterator[Page]:
    """The page of a studio whose Hub is the stand-in. Whatever a test does, the console stays clean."""
    errors: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(message.text)

    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.on("console", on_console)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(stocked.url)
    yield page
    context.close()
    assert errors == []


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()
    expect(desk(page).locator(".list label").first).to_be_visible(timeout=PATIENCE)


def bring(page: Page, tab: str, reference: str) -> None:
    """Types it, loads it, and waits until it is there."""
    open_tab(page, tab)
    desk(page).get_by_label("Bring a").fill(reference)
    desk(page).get_by_role("button", name="Load", exact=True).first.click()
    expect(desk(page).locator(".state.done")).to_have_text("Ready to use", timeout=PATIENCE)


def use(page: Page) -> None:
    desk(page).get_by_role("button", name="Use it").click()
    expect(page.get_by_role("tab", name="Text to image")).to_have_attribute("aria-selected", "true")


def shown_model(page: Page) -> Locator:
    return desk(page).get_by_role("combobox", name="Model")


def test_a_model_is_brought_from_the_hub_and_used(page: Page, hub: StandInHub) -> None:
    hub.fault("GET /lfs/studio/tiny-flux-schnell/", times=None, slow=60_000)
    open_tab(page, "Models")
    screenshot(page, "models")
    desk(page).get_by_label("Bring a model").fill("studio/tiny-flux-schnell")
    desk(page).get_by_role("button", name="Load", exact=True).first.click()
    expect(desk(page).locator(".block.status")).to_contain_text("Downloading: ", timeout=PATIENCE)
    expect(desk(page).locator(".block.status")).to_contain_text("kB of 591")
    screenshot(page, "models-downloading")
    expect(desk(page).locator(".state.done")).to_have_text("Ready to use", timeout=PATIENCE)
    expect(desk(page).locator(".list label.selected")).to_contain_text("studio/tiny-flux-schnell · in memory")
    expect(desk(page).locator(".abilities .cannot", has_text="negative prompt")).to_be_visible()
    screenshot(page, "models-loaded")
    use(page)
    expect(shown_model(page)).to_have_value("studio/tiny-flux-schnell")
    desk(page).get_by_role("button", name="More settings").click()
    expect(desk(page).get_by_label("number input for Steps")).to_have_value("28")
    for unable in ("Negative prompt", "number input for Guidance scale", "number input for Clip skip"):
        expect(desk(page).get_by_label(unable)).to_be_hidden()
    for side in ("Width", "Height"):
        desk(page).get_by_label(f"number input for {side}").fill("64")
        desk(page).get_by_label(f"number input for {side}").press("Tab")
    generate(page)
    assert fact(page, "Model") == "studio/tiny-flux-schnell"
    assert shown_picture(page).size == (64, 64)


def test_settings_of_a_picture_bring_its_model_back(page: Page) -> None:
    bring(page, "Models", "studio/tiny-sd15")
    use(page)
    generate(page)
    choose_model(page, "Embedded")
    expect(desk(page).get_by_label("number input for Batch size")).to_have_value("1")
    generate(page)
    assert fact(page, "Model") == "embedded"
    desk(page).locator(".shelf button.thumbnail-item").nth(1).click()
    expect(desk(page).locator(".details dl")).to_contain_text("studio/tiny-sd15")
    desk(page).get_by_role("button", name="Reuse settings").click()
    expect(shown_model(page)).to_have_value("studio/tiny-sd15")


def test_a_picture_is_sent_with_its_model(page: Page) -> None:
    bring(page, "Models", "studio/tiny-sd15")
    use(page)
    generate(page)
    desk(page).get_by_role("button", name="Send to image to image").click()
    expect(page.get_by_role("tab", name="Image to image")).to_have_attribute("aria-selected", "true")
    expect(shown_model(page)).to_have_value("studio/tiny-sd15")
    generate(page, steps=4)
    assert (fact(page, "Model"), fact(page, "Strength")) == ("studio/tiny-sd15", "0.6")


def choose_model(page: Page, name: str) -> None:
    shown_model(page).click()
    page.get_by_role("option", name=name, exact=True).click()


def add_lora(page: Page, name: str) -> None:
    desk(page).get_by_role("combobox", name="LoRAs").click()
    page.get_by_role("option", name=name, exact=True).click()
    page.keyboard.press("Escape")


def test_loras_are_put_on_and_taken_off(page: Page) -> None:
    bring(page, "Models", "studio/tiny-sd15")
    for name in ("studio/lora", "studio/lora-kohya"):
        bring(page, "LoRAs", name)
    desk(page).get_by_role("button", name="Use it").click()
    expect(desk(page).get_by_role("alert")).to_contain_text(
        "was made for Stable Diffusion 1, and the model embedded is"
    )
    page.get_by_role("tab", name="Text to image").click()
    choose_model(page, "studio/tiny-sd15")
    open_tab(page, "LoRAs")
    screenshot(page, "loras")
    use(page)
    expect(desk(page).locator(".weight").filter(visible=True)).to_have_count(1)
    add_lora(page, "studio/lora")
    expect(desk(page).locator(".weight").filter(visible=True)).to_have_count(2)
    screenshot(page, "loras-stacked")
    generate(page)
    assert "studio/lora 0.8" in fact(page, "LoRAs")
    for remove in range(2):
        desk(page).locator(".chosen .token-remove").filter(visible=True).first.click()
        expect(desk(page).locator(".weight").filter(visible=True)).to_have_count(1 - remove)
    generate(page)
    expect(desk(page).locator(".details dl")).not_to_contain_text("studio/lora")


@pytest.mark.parametrize(
    ("tab", "reference", "message"),
    [
        ("Models", "studio/gated", "its terms must be accepted on its page first"),
        ("Models", "studio/pickle-only", "only safetensors are loaded"),
        ("Models", "", "model: is required"),
        ("LoRAs", "studio/loras", "it holds several files; say which"),
        ("LoRAs", "studio/missing", "there is no such repository"),
        ("LoRAs", "", "lora: is required"),
    ],
)
def test_what_cannot_be_brought_says_why(page: Page, tab: str, reference: str, message: str) -> None:
    open_tab(page, tab)
    desk(page).get_by_label("Bring a").fill(reference)
    desk(page).get_by_role("button", name="Load", exact=True).first.click()
    expect(desk(page).get_by_role("alert")).to_contain_text(message, timeout=PATIENCE)


def test_a_download_is_stopped(page: Page, hub: StandInHub) -> None:
    hub.fault("GET /lfs/studio/tiny-sd3/", times=None, slow=30_000)
    open_tab(page, "Models")
    desk(page).get_by_label("Bring a model").fill("studio/tiny-sd3")
    desk(page).get_by_role("button", name="Load", exact=True).first.click()
    expect(desk(page).locator(".block.status")).to_contain_text("Downloading: ", timeout=PATIENCE)
    desk(page).get_by_role("button", name="Stop").click()
    expect(desk(page).get_by_role("alert")).to_contain_text("The download was stopped", timeout=PATIENCE)
    hub.heal()


def test_a_model_is_unloaded_and_deleted(page: Page) -> None:
    bring(page, "Models", "studio/tiny-z-image")
    desk(page).get_by_role("button", name="Unload from memory").click()
    expect(desk(page).locator(".list label.selected")).to_contain_text("studio/tiny-z-image · on disk")
    desk(page).get_by_role("button", name="Delete from disk").click()
    expect(desk(page).locator(".state.done")).to_have_text("Deleted")
    expect(desk(page).locator(".list label", has_text="tiny-z-image")).to_have_count(0)
    expect(desk(page).get_by_role("button", name="Delete from disk")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", SIZES)
def test_the_shelves_fit_every_screen(browser: Browser, stocked: Studio, device: str, scheme: str) -> None:
    width, height = SIZES[device]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(stocked.url)
    for tab in ("Models", "LoRAs"):
        open_tab(page, tab)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        screenshot(page, f"{device}-{scheme}-{tab.lower()}")
    page.close()
