"""Models and LoRAs on the page, in a real browser, with the stand-in as the Hub."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect

from tests.acceptance.conftest import SIDE, TIMEOUT_MILLISECONDS, Studio, empty_studio, open_page, open_window
from tests.acceptance.test_library_page import press_until_focused
from tests.acceptance.test_page import (
    SIZES,
    current_tab,
    fact,
    generate,
    open_settings,
    open_tab,
    prompt,
    screenshot,
    shown_picture,
    switch_schemes,
)
from tests.hub.server import StandInHub
from tests.hub.tiny import TINY
from tests.slow_model import SlowModel

WIDTHS = {**SIZES, "wide": (2560, 1300)}
# Pixels that a finger needs.
TOUCH_SIDE = 44


@pytest.fixture
def page(blank_page: Page, hub_studio: Studio) -> Iterator[Page]:
    """The page of a studio whose Hub is the stand-in. Whatever a test does, the console stays clean."""
    errors: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(f"{message.text} {message.location['url']}")

    blank_page.on("console", on_console)
    blank_page.on("pageerror", lambda error: errors.append(str(error)))
    open_page(blank_page, hub_studio.url)
    yield blank_page
    assert errors == []


@pytest.fixture
def empty_hub_studio(hub_studio: Studio) -> Studio:
    """The studio before a page is opened, without pictures."""
    empty_studio(hub_studio)
    return hub_studio


def open_cards(page: Page, name: str) -> Locator:
    """Opens the tab "Models" or "LoRAs", and returns its element when it shows cards."""
    page.get_by_role("tab", name=name).click()
    cards = page.locator(f"studio-{name.lower()}")
    expect(cards.locator(".resource-card").first).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    return cards


def card(cards: Locator, resource_id: str) -> Locator:
    return cards.locator(f'.resource-card[data-id="{resource_id}"]')


def type_reference(cards: Locator, reference: str) -> None:
    cards.get_by_role("textbox", name="Load a").fill(reference)
    cards.get_by_role("textbox", name="Load a").press("Enter")


def load_on_page(page: Page, tab: str, reference: str) -> Locator:
    """Types a name, and returns its card when it is loaded."""
    cards = open_cards(page, tab)
    type_reference(cards, reference)
    expect(page.get_by_text(f"{reference} is ready to use.")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    return card(cards, reference)


def press(resource: Locator, action: str) -> None:
    resource.get_by_role("button", name=action).first.click()


def use(page: Page, resource: Locator) -> None:
    press(resource, "Use")
    expect(page.get_by_role("tab", name="Create")).to_have_attribute("aria-selected", "true")


def shown_model(page: Page) -> Locator:
    return current_tab(page).get_by_role("combobox", name="Model")


def test_a_model_is_brought_from_the_hub_and_used(page: Page, hub: StandInHub) -> None:
    hub.add_fault("GET /lfs/studio/tiny-flux-schnell/", times=None, slow=20_000)
    cards = open_cards(page, "Models")
    screenshot(page, "models")
    type_reference(cards, "studio/tiny-flux-schnell")
    model = card(cards, "studio/tiny-flux-schnell")
    expect(model).to_contain_text("Downloading: ", timeout=TIMEOUT_MILLISECONDS)
    expect(model).to_contain_text("kB of 591")
    expect(model.get_by_role("progressbar")).to_have_attribute("value")
    screenshot(page, "models-downloading")
    hub.clear_faults()
    expect(model.locator(".resource-state")).to_have_text("in memory", timeout=TIMEOUT_MILLISECONDS)
    expect(model).to_contain_text("Runs here")
    press(model, "Details")
    details = page.get_by_role("dialog")
    expect(details.locator(".cannot", has_text="negative prompt")).to_be_visible()
    expect(details).to_contain_text("studio/tiny-flux-schnell")
    screenshot(page, "models-details")
    page.keyboard.press("Escape")
    expect(details).to_be_hidden()
    use(page, model)
    expect(shown_model(page)).to_have_value("studio/tiny-flux-schnell")
    open_settings(page)
    expect(current_tab(page).get_by_label("number input for Steps")).to_have_value("28")
    for unable in ("Negative prompt", "number input for Guidance scale", "number input for Clip skip"):
        expect(current_tab(page).get_by_label(unable)).to_be_hidden()
    for side in ("Width", "Height"):
        current_tab(page).get_by_label(f"number input for {side}").fill("64")
        current_tab(page).get_by_label(f"number input for {side}").press("Tab")
    generate(page)
    assert fact(page, "Model") == "studio/tiny-flux-schnell"
    assert shown_picture(page).size == (64, 64)


def test_settings_of_a_picture_bring_its_model_back(page: Page) -> None:
    use(page, load_on_page(page, "Models", "studio/tiny-sd15"))
    generate(page)
    choose_model(page, "Embedded")
    expect(shown_model(page)).to_have_value("Embedded")
    generate(page)
    assert fact(page, "Model") == "embedded"
    current_tab(page).locator(".history [data-show]").nth(1).click()
    expect(current_tab(page).locator(".details dl")).to_contain_text("studio/tiny-sd15")
    current_tab(page).get_by_role("button", name="Reuse settings").click()
    expect(shown_model(page)).to_have_value("studio/tiny-sd15")


def test_a_picture_is_sent_with_its_model(page: Page) -> None:
    use(page, load_on_page(page, "Models", "studio/tiny-sd15"))
    generate(page)
    current_tab(page).get_by_role("button", name="Send to image to image").click()
    expect(page.get_by_role("tab", name="Picture", exact=True)).to_have_attribute("aria-selected", "true")
    expect(shown_model(page)).to_have_value("studio/tiny-sd15")
    generate(page, steps=4)
    assert (fact(page, "Model"), fact(page, "Strength")) == ("studio/tiny-sd15", "0.6")


def choose_model(page: Page, name: str) -> None:
    shown_model(page).click()
    page.get_by_role("option", name=name, exact=True).click()


def add_lora(page: Page, name: str) -> None:
    current_tab(page).get_by_role("combobox", name="LoRAs").click()
    page.get_by_role("option", name=name, exact=True).click()
    page.keyboard.press("Escape")


def test_loras_are_put_on_and_taken_off(page: Page) -> None:
    load_on_page(page, "Models", "studio/tiny-sd15")
    load_on_page(page, "LoRAs", "studio/lora")
    kohya = load_on_page(page, "LoRAs", "studio/lora-kohya")
    expect(kohya).to_contain_text("Trigger word: studio style")
    press(kohya, "Use")
    expect(kohya.get_by_role("alert")).to_contain_text("was made for Stable Diffusion 1, and the model embedded is")
    open_tab(page, "Text to image")
    choose_model(page, "studio/tiny-sd15")
    open_cards(page, "LoRAs")
    expect(kohya.get_by_role("alert")).to_have_count(0)
    screenshot(page, "loras")
    use(page, kohya)
    expect(current_tab(page).locator(".weight").filter(visible=True)).to_have_count(1)
    add_lora(page, "studio/lora")
    expect(current_tab(page).locator(".weight").filter(visible=True)).to_have_count(2)
    screenshot(page, "loras-stacked")
    generate(page)
    assert "studio/lora 0.8" in fact(page, "LoRAs")
    for remove in range(2):
        current_tab(page).get_by_role("button", name="Remove LoRA 1").click()
        expect(current_tab(page).locator(".weight").filter(visible=True)).to_have_count(1 - remove)
    generate(page)
    expect(current_tab(page).locator(".details dl")).not_to_contain_text("studio/lora")


def test_an_embedding_is_loaded_as_what_it_is_and_used(page: Page) -> None:
    use(page, load_on_page(page, "Models", "studio/tiny-sd15"))
    embedding = load_on_page(page, "LoRAs", "studio/embedding")
    section = page.locator("section", has=page.locator("[data-id='studio/embedding']"))
    expect(section.get_by_role("heading", level=2)).to_have_text("Embeddings")
    use(page, embedding)
    open_settings(page)
    expect(current_tab(page).locator(".token", has_text="studio/embedding")).to_be_visible()
    expect(prompt(page)).to_have_value(re.compile("embedding$"))


# What is typed in a tab, and the message at its field. Neighbours have different messages.
REFUSED = {
    "Models": {
        "studio/gated": "its terms must be accepted on its page first",
        "studio/pickle-only": "only safetensors are loaded",
        "nonsense": "There is no 'nonsense' here. It can be embedded, ",
        "": "Type the name of a repository first",
    },
    "LoRAs": {
        "studio/loras": "it has several files; name one of them",
        "studio/missing": "there is no such repository",
        "": "Type the name of a repository first",
    },
}


@pytest.mark.parametrize("tab", REFUSED)
def test_what_cannot_be_brought_is_said_at_the_field(page: Page, tab: str) -> None:
    cards = open_cards(page, tab)
    field = cards.get_by_role("textbox", name="Load a")
    for reference, message in REFUSED[tab].items():
        type_reference(cards, reference)
        expect(cards.get_by_role("alert")).to_contain_text(message, timeout=TIMEOUT_MILLISECONDS)
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_have_accessible_description(re.compile(re.escape(message)))
        if reference:
            expect(card(cards, reference)).to_have_count(0)


def test_a_download_is_seen_after_a_reload_and_stopped_in_another_window(
    page: Page, browser: Browser, hub_studio: Studio, hub: StandInHub
) -> None:
    hub.add_fault("GET /lfs/studio/tiny-sd3/", times=None, slow=30_000)
    cards = open_cards(page, "Models")
    type_reference(cards, "studio/tiny-sd3")
    expect(card(cards, "studio/tiny-sd3")).to_contain_text("Downloading: ", timeout=TIMEOUT_MILLISECONDS)
    open_page(page, hub_studio.url)
    here = card(open_cards(page, "Models"), "studio/tiny-sd3")
    expect(here).to_contain_text("Downloading: ", timeout=TIMEOUT_MILLISECONDS)
    with open_window(browser) as other:
        open_page(other, hub_studio.url)
        there = card(open_cards(other, "Models"), "studio/tiny-sd3")
        press(there, "Stop")
        expect(other.get_by_text("The download was stopped.")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
        expect(there).to_have_count(0)
    expect(page.get_by_text("The download of studio/tiny-sd3 ended before it was complete.")).to_be_visible()
    expect(here).to_have_count(0)
    hub.clear_faults()


def test_the_window_that_began_a_download_stops_it(page: Page, hub: StandInHub) -> None:
    hub.add_fault("GET /lfs/studio/tiny-sd3/", times=None, slow=30_000)
    cards = open_cards(page, "Models")
    type_reference(cards, "studio/tiny-sd3")
    model = card(cards, "studio/tiny-sd3")
    expect(model).to_contain_text("Downloading: ", timeout=TIMEOUT_MILLISECONDS)
    press(model, "Stop")
    expect(cards.get_by_role("alert")).to_contain_text("The download was stopped", timeout=TIMEOUT_MILLISECONDS)
    expect(model).to_have_count(0)
    hub.clear_faults()


@pytest.fixture
def slow_model(hub_studio: Studio) -> Iterator[SlowModel]:
    """A model "slow" in the models folder, whose loading waits for the test."""
    folder = hub_studio.models_dir / "slow"
    TINY["tiny-sd15"](folder)
    model = SlowModel(folder)
    yield model
    model.let_go()
    httpx2.post(f"{hub_studio.url}/v1/models/unload", json={"model": "slow"}, timeout=60).raise_for_status()
    shutil.rmtree(folder)


def test_the_loading_of_a_model_is_stopped_at_once(page: Page, slow_model: SlowModel) -> None:
    model = card(open_cards(page, "Models"), "slow")
    press(model, "Load")
    slow_model.wait_until_it_is_read()
    expect(model).to_contain_text("Loading into memory")
    screenshot(page, "models-loading")
    press(model, "Stop")
    expect(model).to_contain_text("Loading was stopped.")
    expect(model.locator(".resource-state")).to_have_text("on disk")
    press(model, "Load")
    expect(model).to_contain_text("Loading into memory")
    slow_model.let_go()
    expect(model.locator(".resource-state")).to_have_text("in memory", timeout=TIMEOUT_MILLISECONDS)


def test_loading_is_stopped_in_another_window(
    page: Page, browser: Browser, hub_studio: Studio, slow_model: SlowModel
) -> None:
    model = card(open_cards(page, "Models"), "slow")
    press(model, "Load")
    slow_model.wait_until_it_is_read()
    with open_window(browser) as other:
        open_page(other, hub_studio.url)
        there = card(open_cards(other, "Models"), "slow")
        expect(there).to_contain_text("Loading into memory")
        press(there, "Stop")
        expect(other.get_by_text("Loading was stopped.")).to_be_visible()
        expect(there.get_by_role("button", name="Load")).to_be_visible()
    expect(model).to_contain_text("Loading was stopped.")


def test_a_job_that_waits_for_its_model_is_stopped_at_once(page: Page, slow_model: SlowModel) -> None:
    use(page, card(open_cards(page, "Models"), "slow"))
    prompt(page).fill("a red circle")
    current_tab(page).get_by_role("button", name="Generate").click()
    slow_model.wait_until_it_is_read()
    status = current_tab(page).locator(".block.status")
    expect(status).to_contain_text("Loading", timeout=TIMEOUT_MILLISECONDS)
    current_tab(page).get_by_role("button", name="Stop").click()
    expect(status).to_have_text("Stopped")
    choose_model(page, "Embedded")
    generate(page)


def test_a_model_of_the_catalogue_is_downloaded_on_its_card(page: Page) -> None:
    cards = open_cards(page, "Models")
    model = card(cards, "tiny")
    if model.locator(".resource-state").inner_text() == "not downloaded":
        press(model, "Download")
    else:
        press(model, "Load")
    expect(model.locator(".resource-state")).to_have_text("in memory", timeout=TIMEOUT_MILLISECONDS)
    expect(model.get_by_role("button").first).to_have_text("Use")


def test_a_model_is_unloaded_and_deleted_after_a_question(page: Page) -> None:
    model = load_on_page(page, "Models", "studio/tiny-z-image")
    press(model, "Unload")
    expect(model.locator(".resource-state")).to_have_text("on disk")
    expect(model.get_by_role("button").first).to_have_text("Load")
    press(model, "Delete")
    question = page.get_by_role("dialog", name="Delete studio/tiny-z-image?")
    expect(question).to_contain_text("B of the disk")
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    screenshot(page, "models-question")
    page.keyboard.press("Enter")
    expect(question).to_be_hidden()
    expect(model.get_by_role("button", name="Delete")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("studio/tiny-z-image was deleted.")).to_be_visible()
    expect(model).to_have_count(0)


def test_files_of_the_studio_itself_cannot_be_deleted(page: Page) -> None:
    embedded = card(open_cards(page, "Models"), "embedded")
    expect(embedded.get_by_role("button", name="Details")).to_be_visible()
    expect(embedded.get_by_role("button", name="Delete")).to_have_count(0)


def test_cards_are_found_by_words(page: Page) -> None:
    cards = open_cards(page, "Models")
    search = cards.get_by_label("Search")
    search.fill("xl turbo")
    expect(cards.locator(".resource-card")).to_have_count(1)
    expect(cards.get_by_role("heading", name="SDXL Turbo")).to_be_visible()
    search.fill("nothing of this")
    expect(cards.locator(".resource-card")).to_have_count(0)
    expect(cards.locator(".resource-status")).to_have_text("No model fits.")
    search.fill("")
    expect(card(cards, "embedded")).to_be_visible()
    refused = cards.locator(".resource-refused")
    refused.get_by_text("1 file cannot be used").click()
    expect(refused.get_by_role("listitem")).to_have_text(re.compile("old.ckpt: it is a pickle, which may run code"))
    expect(card(cards, "flux.1-dev")).to_contain_text("Its terms must be accepted first")


def test_a_card_shows_the_authors_picture_or_the_newest_one_made_with_it(empty_hub_studio: Studio, page: Page) -> None:
    cards = open_cards(page, "LoRAs")
    neon = card(cards, "neon").locator("img")
    expect(neon).to_be_hidden()
    body = {"prompt": "neon style, a star", "steps": 2, "loras": [{"lora": "neon"}]}
    made = httpx2.post(f"{empty_hub_studio.url}/v1/txt2img", json=body, timeout=90).json()
    embedded = card(open_cards(page, "Models"), "embedded").locator("img")
    expect(embedded).to_have_attribute("src", "v1/models/picture?model=embedded")
    expect(embedded).not_to_have_js_property("naturalWidth", 0)
    open_cards(page, "LoRAs")
    expect(neon).to_have_attribute("src", f"v1/pictures/{made['id']}/thumbnail")
    expect(neon).to_have_js_property("naturalWidth", SIDE)
    open_cards(page, "Models")
    httpx2.delete(f"{empty_hub_studio.url}/v1/pictures/{made['id']}").raise_for_status()
    open_cards(page, "LoRAs")
    expect(neon).to_be_hidden()


@pytest.mark.parametrize("device", WIDTHS)
def test_the_cards_fit_every_screen(browser: Browser, hub_studio: Studio, device: str) -> None:
    width, height = WIDTHS[device]
    with open_window(browser, width, height, color_scheme="dark") as page:
        open_page(page, hub_studio.url)
        for scheme in switch_schemes(page):
            for tab in ("Models", "LoRAs"):
                cards = open_cards(page, tab)
                assert page.evaluate("document.documentElement.scrollWidth") == width
                if device == "phone":
                    sides = (
                        cards.locator("button, input")
                        .filter(visible=True)
                        .evaluate_all("all => all.map(each => Math.min(each.offsetWidth, each.offsetHeight))")
                    )
                    assert min(sides) >= TOUCH_SIDE
                screenshot(page, f"{device}-{scheme}-{tab.lower()}")


def test_the_values_of_each_model_are_remembered(page: Page) -> None:
    use(page, load_on_page(page, "Models", "studio/tiny-sd15"))
    steps = current_tab(page).get_by_label("number input for Steps")
    steps.fill("7")
    steps.press("Tab")
    choose_model(page, "Embedded")
    expect(steps).to_have_value("20")
    choose_model(page, "studio/tiny-sd15")
    expect(steps).to_have_value("7")


def open_cards_by_keys(page: Page, name: str) -> Locator:
    press_until_focused(page, "Shift+Tab", page.get_by_role("tab", name=name))
    page.keyboard.press("Enter")
    cards = page.locator(f"studio-{name.lower()}")
    expect(cards.locator(".resource-card").first).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    return cards


def press_key_on(page: Page, resource: Locator, action: str, direction: str = "Tab", key: str = "Enter") -> None:
    """Moves the focus to a button of a card, which then shows it, and presses it."""
    button = resource.get_by_role("button", name=action).first
    press_until_focused(page, direction, button)
    expect(button).to_have_css("outline-style", "solid")
    page.keyboard.press(key)


def test_a_download_is_begun_and_stopped_by_keys_alone(page: Page, hub: StandInHub) -> None:
    hub.add_fault("GET /lfs/studio/tiny-sd3/", times=None, slow=30_000)
    cards = open_cards_by_keys(page, "Models")
    reference = cards.get_by_role("textbox", name="Load a")
    press_until_focused(page, "Tab", reference)
    page.keyboard.type("studio/tiny-sd3")
    page.keyboard.press("Enter")
    stopped = card(cards, "studio/tiny-sd3")
    expect(stopped).to_contain_text("Downloading: ", timeout=TIMEOUT_MILLISECONDS)
    press_key_on(page, stopped, "Stop")
    expect(cards.get_by_role("alert")).to_contain_text("The download was stopped", timeout=TIMEOUT_MILLISECONDS)
    expect(cards.get_by_role("alert")).to_have_css("font-weight", "400")  # It is no error.
    expect(stopped).to_have_count(0)
    expect(reference).to_be_focused()
    hub.clear_faults()


def test_a_model_is_found_used_and_deleted_by_keys_alone(page: Page) -> None:
    cards = open_cards_by_keys(page, "Models")
    search = cards.get_by_label("Search")
    press_until_focused(page, "Tab", cards.get_by_role("textbox", name="Load a"))
    page.keyboard.type("studio/tiny-z-image")
    page.keyboard.press("Enter")
    model = card(cards, "studio/tiny-z-image")
    expect(model.locator(".resource-state")).to_have_text("in memory", timeout=TIMEOUT_MILLISECONDS)
    press_until_focused(page, "Tab", search)
    page.keyboard.type("nothing of this")
    page.keyboard.press("Escape")
    expect(search).to_have_value("")
    page.keyboard.type("studio/tiny-z-image")
    expect(cards.locator(".resource-card")).to_have_count(1)
    press_key_on(page, model, "Unload", key="Space")
    expect(model.locator(".resource-state")).to_have_text("on disk")
    expect(model.get_by_role("button", name="Load")).to_be_focused()
    page.keyboard.press("Enter")
    expect(model.locator(".resource-state")).to_have_text("in memory", timeout=TIMEOUT_MILLISECONDS)
    expect(model.get_by_role("button", name="Use")).to_be_focused()
    press_key_on(page, model, "Details")
    page.evaluate("document.querySelector('studio-models').cards.forEach((card) => delete card.shown)")
    with page.expect_response("**/v1/models/list"):  # The cards are built again behind the dialog.
        pass
    page.keyboard.press("Escape")
    expect(model.get_by_role("button", name="Details")).to_be_focused()
    press_key_on(page, model, "Delete")
    page.keyboard.press("Escape")
    expect(model.get_by_role("button", name="Delete")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(model).to_have_count(0, timeout=TIMEOUT_MILLISECONDS)
    expect(search).to_be_focused()


def test_a_model_is_used_and_refused_files_are_read_by_keys_alone(page: Page) -> None:
    cards = open_cards_by_keys(page, "Models")
    refused = cards.locator(".resource-refused")
    press_until_focused(page, "Tab", refused.locator("summary"))
    page.keyboard.press("Space")
    expect(refused.get_by_role("listitem").first).to_be_visible()
    press_key_on(page, card(cards, "embedded-fast"), "Use")
    expect(prompt(page)).to_be_focused(timeout=TIMEOUT_MILLISECONDS)
    expect(shown_model(page)).to_have_value("Embedded, fast")


def test_loras_by_keys_alone(page: Page) -> None:
    """Loads a LoRA, adds it as a chip, sets its weight and takes it off."""
    use(page, load_on_page(page, "Models", "studio/tiny-sd15"))
    prompt(page).focus()
    cards = open_cards_by_keys(page, "LoRAs")
    press_until_focused(page, "Tab", cards.get_by_role("textbox", name="Load a"))
    page.keyboard.type("studio/lora-kohya")
    page.keyboard.press("Enter")
    lora = card(cards, "studio/lora-kohya")
    expect(page.get_by_text("studio/lora-kohya is ready to use.")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    press_until_focused(page, "Tab", cards.get_by_label("Search"))
    page.keyboard.type("kohya")
    press_key_on(page, lora, "Details")
    expect(page.get_by_role("dialog", name="Details of")).to_contain_text("studio style")
    page.keyboard.press("Escape")
    press_key_on(page, lora, "Use", "Shift+Tab")
    expect(prompt(page)).to_be_focused(timeout=TIMEOUT_MILLISECONDS)
    weight = current_tab(page).get_by_label("number input for studio/lora-kohya")
    press_until_focused(page, "Tab", weight)
    page.keyboard.press("Control+a")
    page.keyboard.type("0.5")
    slider = current_tab(page).get_by_label("range slider for studio/lora-kohya")
    press_until_focused(page, "Tab", slider)
    expect(slider).to_have_value("0.5")
    page.keyboard.press("ArrowRight")
    expect(weight).to_have_value("0.55")
    screenshot(page, "loras-by-keys")
    press_until_focused(page, "Tab", current_tab(page).get_by_role("button", name="Remove LoRA 1"))
    page.keyboard.press("Enter")
    expect(weight).to_be_hidden()
    expect(current_tab(page).get_by_role("combobox", name="LoRAs")).to_be_focused()
