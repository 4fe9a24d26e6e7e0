"""The page as people meet it: in a real browser, with a real model behind it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect

from tests.acceptance.conftest import ROOT, SIDE, Studio, running_studio

SCREENSHOTS = ROOT / "build" / "screenshots"
PROMPT = "a red circle on a blue background"
PATIENCE = 90_000
SIZES = {"desktop": (1440, 900), "tablet": (1024, 768), "phone": (390, 844)}


@pytest.fixture(autouse=True)
def nothing_odd(page: Page, studio: Studio) -> Iterator[None]:
    """Whatever a test does, the console stays clean and nobody else is called."""
    oddities: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            oddities.append(message.text)

    def on_request(request: Request) -> None:
        if not request.url.startswith((studio.url, "data:", "blob:")):
            oddities.append(request.url)

    page.on("console", on_console)
    page.on("pageerror", lambda error: oddities.append(str(error)))
    page.on("request", on_request)
    page.reload()
    yield
    assert oddities == []


def desk(page: Page) -> Locator:
    """The tab that is open."""
    return page.locator(".workbench").filter(visible=True)


def prompt(page: Page) -> Locator:
    return desk(page).get_by_label("Prompt", exact=False).first


def set_steps(page: Page, steps: int) -> None:
    field = desk(page).get_by_label("number input for Steps")
    if not field.is_visible():
        desk(page).get_by_role("button", name="More settings").click()
    field.fill(str(steps))
    field.press("Tab")


def generate(page: Page, text: str = PROMPT, steps: int = 2) -> None:
    """Makes a picture, and waits until it is there."""
    picture = desk(page).locator(".stage.finished img")
    before = picture.get_attribute("src") if picture.count() else ""
    set_steps(page, steps)
    prompt(page).fill(text)
    desk(page).get_by_role("button", name="Generate").click()
    expect(desk(page).locator(f".stage.finished img:not([src='{before}'])")).to_be_visible(timeout=PATIENCE)


def shown_picture(page: Page) -> Image.Image:
    """The file behind the picture on the stage."""
    source = desk(page).locator(".stage.finished img").get_attribute("src")
    response = page.request.get(f"{page.url.rstrip('/')}/{source}")
    return Image.open(BytesIO(response.body()))


def fact(page: Page, name: str) -> str:
    return desk(page).locator(".details dl div", has_text=name).locator("dd").inner_text()


def screenshot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def test_ctrl_enter_paints_step_by_step(page: Page) -> None:
    prompt(page).fill(PROMPT)
    page.keyboard.press("Control+Enter")
    expect(desk(page).locator(".stage.preview img")).to_be_visible(timeout=PATIENCE)
    expect(desk(page).locator(".block.status")).to_contain_text("of 20")
    expect(desk(page).locator(".block.status")).to_contain_text("%")
    expect(desk(page).locator(".block.status")).to_contain_text("left")
    screenshot(page, "running")
    picture = desk(page).locator(".stage.finished img")
    expect(picture).to_be_visible(timeout=PATIENCE)
    expect(picture).to_have_js_property("naturalWidth", SIDE)
    size = picture.bounding_box()
    assert size is not None
    assert size["width"] == size["height"] > 500, "never a tiny stamp"
    expect(desk(page).locator(".block.status")).to_contain_text("Done in")
    screenshot(page, "finished")


def test_ctrl_enter_works_from_every_field(page: Page) -> None:
    set_steps(page, 1)
    prompt(page).fill(PROMPT)
    desk(page).get_by_label("Seed").press("Control+Enter")
    expect(desk(page).locator(".state.done")).to_be_visible(timeout=PATIENCE)


def test_stop_clears_the_stage_and_frees_the_worker(page: Page) -> None:
    set_steps(page, 150)
    prompt(page).fill(PROMPT)
    desk(page).get_by_role("button", name="Generate").click()
    expect(desk(page).locator(".stage.preview img")).to_be_visible(timeout=PATIENCE)
    desk(page).get_by_role("button", name="Stop").click()
    expect(desk(page).locator(".block.status")).to_have_text("Stopped")
    expect(desk(page).locator(".stage img")).to_have_count(0)
    expect(desk(page).get_by_role("button", name="Stop")).to_be_hidden()
    generate(page)


def test_a_closed_tab_frees_the_worker(page: Page, browser: Browser, studio: Studio) -> None:
    other = browser.new_page()
    other.goto(studio.url)
    set_steps(other, 150)
    prompt(other).fill(PROMPT)
    desk(other).get_by_label("number input for Batch size").fill("8")
    desk(other).get_by_role("button", name="Generate").click()
    expect(desk(other).locator(".stage.preview img")).to_be_visible(timeout=PATIENCE)
    other.close()
    began = time.monotonic()
    generate(page, steps=1)
    assert time.monotonic() - began < 30


def test_the_same_seed_gives_the_same_picture(page: Page) -> None:
    generate(page)
    first, seed = shown_picture(page), fact(page, "Seed")
    generate(page)
    assert fact(page, "Seed") != seed, "an empty field is a new seed each time"
    desk(page).locator(".shelf button.thumbnail-item").nth(1).click()
    expect(desk(page).locator(".details dl")).to_contain_text(seed)
    desk(page).get_by_role("button", name="Reuse seed").click()
    expect(desk(page).get_by_label("Seed")).to_have_value(seed)
    steps, before = fact(page, "Steps"), desk(page).locator(".stage.finished img").get_attribute("src")
    desk(page).get_by_role("button", name="Reuse settings").click()
    expect(desk(page).get_by_label("number input for Steps")).to_have_value(steps)
    desk(page).get_by_role("button", name="Generate").click()
    expect(desk(page).locator(f".stage.finished img:not([src='{before}'])")).to_be_visible(timeout=PATIENCE)
    assert shown_picture(page).tobytes() == first.tobytes()


def test_all_settings_come_back_with_one_click(page: Page) -> None:
    generate(page, "a green star", steps=3)
    assert fact(page, "Steps") == "3"
    seed = fact(page, "Seed")
    prompt(page).fill("something else")
    set_steps(page, 9)
    desk(page).get_by_role("button", name="Reuse settings").click()
    expect(prompt(page)).to_have_value("a green star")
    expect(desk(page).get_by_label("number input for Steps")).to_have_value("3")
    expect(desk(page).get_by_label("Seed")).to_have_value(seed)


def test_settings_stay_when_the_models_are_looked_at_and_none_is_chosen(page: Page) -> None:
    steps = desk(page).get_by_label("number input for Steps")
    set_steps(page, 3)
    desk(page).get_by_label("Model", exact=True).click()
    prompt(page).fill(PROMPT)
    desk(page).get_by_role("button", name="Generate").click()
    expect(desk(page).locator(".stage.finished img")).to_be_visible(timeout=PATIENCE)
    assert fact(page, "Steps") == "3"
    expect(steps).to_have_value("3")


def test_a_picture_is_downloaded_with_its_receipt(page: Page, tmp_path: Path) -> None:
    generate(page)
    with page.expect_download() as download:
        desk(page).get_by_role("link", name="Download").click()
    assert download.value.suggested_filename.startswith("a-red-circle-on-a-blue-background-")
    download.value.save_as(tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as picture:
        assert json.loads(picture.info["receipt"])["prompt"] == PROMPT
    desk(page).get_by_text("Receipt", exact=True).click()
    expect(desk(page).locator(".details pre")).to_contain_text('"sampler"')


def test_a_batch_lies_on_the_shelf(page: Page) -> None:
    desk(page).get_by_label("number input for Batch size").fill("3")
    generate(page)
    expect(desk(page).locator(".shelf button.thumbnail-item")).to_have_count(3)


def test_more_prompts_lie_on_the_shelf_each_with_its_own_receipt(page: Page) -> None:
    set_steps(page, 2)
    desk(page).get_by_label("More prompts").fill("a green star\n\na yellow square\n")
    desk(page).get_by_label("More prompts").scroll_into_view_if_needed()
    screenshot(page, "more-prompts")
    generate(page)
    pictures = desk(page).locator(".shelf button.thumbnail-item")
    expect(pictures).to_have_count(3)
    pictures.nth(2).click()
    expect(desk(page).locator(".details .prompt")).to_have_text("a yellow square")
    desk(page).get_by_role("button", name="Reuse settings").click()
    expect(prompt(page)).to_have_value("a yellow square")
    expect(desk(page).get_by_label("More prompts")).to_have_value("")


def test_more_prompts_than_pictures_are_refused_by_name(page: Page) -> None:
    set_steps(page, 2)
    prompt(page).fill(PROMPT)
    desk(page).get_by_label("number input for Batch size").fill("5")
    desk(page).get_by_label("More prompts").fill("a green star")
    desk(page).get_by_role("button", name="Generate").click()
    expect(desk(page).locator(".state.failed")).to_contain_text("more_prompts: cannot be used with a batch_size of 5")


def test_a_picture_is_sent_to_image_to_image(page: Page) -> None:
    generate(page)
    desk(page).get_by_role("button", name="Send to image to image").click()
    expect(page.get_by_role("tab", name="Image to image")).to_have_attribute("aria-selected", "true")
    expect(desk(page).locator(".start img")).to_be_visible()
    expect(prompt(page)).to_have_value(PROMPT)
    generate(page, steps=4)
    assert fact(page, "Strength") == "0.7"
    screenshot(page, "image-to-image")


def test_an_uploaded_picture_keeps_its_proportions(page: Page, tmp_path: Path) -> None:
    Image.new("CMYK", (400, 200), (0, 200, 200, 0)).save(tmp_path / "start.jpg")
    page.get_by_role("tab", name="Image to image").click()
    desk(page).locator("input[type=file]").set_input_files(tmp_path / "start.jpg")
    expect(desk(page).locator(".start img")).to_be_visible(timeout=PATIENCE)
    generate(page)
    assert shown_picture(page).size == (360, 184)


def test_a_file_that_is_no_picture_is_refused_at_once(page: Page, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    page.get_by_role("tab", name="Image to image").click()
    desk(page).locator("input[type=file]").set_input_files(tmp_path / "broken.png")
    expect(desk(page).get_by_role("alert")).to_contain_text("init_image: must be a whole picture")
    expect(desk(page).locator(".start img")).to_have_count(0)


def test_image_to_image_needs_a_picture(page: Page) -> None:
    page.get_by_role("tab", name="Image to image").click()
    prompt(page).fill(PROMPT)
    page.keyboard.press("Control+Enter")
    expect(desk(page).get_by_role("alert")).to_have_text("init_image: is required")


@pytest.mark.parametrize(
    ("text", "seed", "problem"),
    [
        ("", "", "prompt: must not be empty"),
        ("x" * 5000, "", "prompt: must have at most 4000 characters"),
        (PROMPT, "many", "seed: must be a number"),
        (PROMPT, "-1", "seed: must be between 0 and 4294967295"),
    ],
)
def test_bad_input_is_told_in_one_line(page: Page, text: str, seed: str, problem: str) -> None:
    prompt(page).fill(text)
    desk(page).get_by_label("Seed").fill(seed)
    desk(page).get_by_role("button", name="Generate").click()
    expect(desk(page).get_by_role("alert")).to_have_text(problem)
    desk(page).get_by_label("Seed").fill("")
    generate(page, steps=1)


def test_a_prompt_is_text_and_never_markup(page: Page) -> None:
    text = "<b>a</b> {{red}} ${1 + 1} `circle` <img src=x onerror=alert(1)>"
    generate(page, text)
    expect(desk(page).locator(".details .prompt")).to_have_text(text)
    expect(desk(page).locator(".stage img")).to_have_attribute("alt", text)


def test_an_example_fills_the_prompt_by_keyboard(page: Page) -> None:
    desk(page).get_by_role("button", name="pixel art of a city at night").press("Enter")
    expect(prompt(page)).to_have_value("pixel art of a city at night")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", SIZES)
def test_it_fits_every_screen_in_both_schemes(browser: Browser, studio: Studio, device: str, scheme: str) -> None:
    width, height = SIZES[device]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(studio.url)
    for tab in ("Text to image", "Image to image"):
        page.get_by_role("tab", name=tab).click()
        expect(desk(page).get_by_role("button", name="Generate")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        screenshot(page, f"{device}-{scheme}-{tab.lower().replace(' ', '-')}")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(paper) < 200) == (scheme == "dark")
    page.close()


def test_it_says_when_it_is_still_warming_up(browser: Browser, tmp_path: Path) -> None:
    with running_studio(tmp_path, until="healthz") as studio:
        os.kill(studio.engine_pid, signal.SIGSTOP)
        page = browser.new_page()
        page.goto(studio.url)
        expect(page.locator(".badge p")).to_contain_text("warming up", timeout=PATIENCE)
        prompt(page).fill(PROMPT)
        page.keyboard.press("Control+Enter")
        expect(desk(page).locator(".block.status")).to_have_text("Warming up", timeout=PATIENCE)
        os.kill(studio.engine_pid, signal.SIGCONT)
        expect(page.locator(".badge p")).to_contain_text("ready", timeout=PATIENCE)
        expect(desk(page).locator(".stage.finished img")).to_be_visible(timeout=PATIENCE)
        page.close()
