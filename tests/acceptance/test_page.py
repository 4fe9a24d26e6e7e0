"""The page in a real browser, with a real model."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect

from imagegen.schema.tasks import TASKS
from tests.acceptance.conftest import (
    ROOT,
    SIDE,
    TIMEOUT_MILLISECONDS,
    Studio,
    empty_studio,
    open_page,
    open_window,
    running_studio,
    wait_until_painted,
    wait_until_usable,
)

SCREENSHOTS = ROOT / "build" / "screenshots"
# The names of tools, and those of their tabs.
TOOLS = {task.label: task.tab for task in TASKS.values()}
PROMPT = "a red circle on a blue background"
SIZES = {"desktop": (1440, 900), "tablet": (1024, 768), "phone": (390, 844)}


@pytest.fixture
def page(blank_page: Page, studio: Studio) -> Iterator[Page]:
    """The studio's page. Whatever a test does, the console stays clean and no other server is called."""
    oddities: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            oddities.append(f"{message.text} {message.location.get('url')}")

    def on_request(request: Request) -> None:
        if not request.url.startswith((studio.url, "data:", "blob:")):
            oddities.append(request.url)

    blank_page.on("console", on_console)
    blank_page.on("pageerror", lambda error: oddities.append(str(error)))
    blank_page.on("request", on_request)
    empty_studio(studio)
    open_page(blank_page, studio.url)
    yield blank_page
    assert oddities == []


def seed_field(page: Page) -> Locator:
    """The field for the seed, not that for the variation seed."""
    return current_tab(page).get_by_role("textbox", name=re.compile("^Seed"))


def current_tab(page: Page) -> Locator:
    """The open tab."""
    return page.locator(".workbench").filter(visible=True)


def prompt(page: Page) -> Locator:
    return current_tab(page).get_by_label("Prompt", exact=False).first


def open_tab(page: Page, name: str) -> None:
    if name in TOOLS:
        page.get_by_role("tab", name="Create").click()
    tab = page.get_by_role("tab", name=TOOLS.get(name, name), exact=True)
    tab.click()
    expect(tab).to_have_attribute("aria-selected", "true")
    expect(current_tab(page)).to_be_visible()
    wait_until_painted(page)


def upload_field(page: Page) -> Locator:
    """The field for the picture that the open tool needs."""
    return current_tab(page).locator(".start").filter(visible=True).locator("input[type=file]")


def open_settings(page: Page) -> None:
    """Opens the settings that are not in view."""
    batch_size = current_tab(page).get_by_label("number input for Batch size")
    if not batch_size.is_visible():
        current_tab(page).get_by_role("button", name="Advanced").click()
    expect(batch_size).to_be_visible()
    wait_until_painted(page)


def set_batch_size(page: Page, pictures: int) -> None:
    sheet = page.get_by_role("button", name="Settings", exact=True)
    is_small_screen = sheet.is_visible()
    if is_small_screen:
        sheet.click()
    open_settings(page)
    field = current_tab(page).get_by_label("number input for Batch size")
    field.fill(str(pictures))
    field.press("Tab")
    if is_small_screen:
        sheet.click()


def set_steps(page: Page, steps: int) -> None:
    set_field(page, current_tab(page).get_by_label("number input for Steps"), str(steps))


def set_field(page: Page, field: Locator, text: str) -> None:
    """Fills a field. On a small screen the settings are in a sheet, which is opened and closed."""
    sheet = page.get_by_role("button", name="Settings", exact=True)
    is_in_sheet = not field.is_visible()
    if is_in_sheet:
        sheet.click()
    field.fill(text)
    field.press("Tab")
    if is_in_sheet:
        sheet.click()


def generate(page: Page, text: str = PROMPT, steps: int = 2) -> None:
    """Makes a picture, and waits until it is shown."""
    download = current_tab(page).locator(".files a.download")
    before = download.get_attribute("href") if download.count() else ""
    set_steps(page, steps)
    prompt(page).fill(text)
    current_tab(page).get_by_role("button", name="Generate").click()
    # The parts of the page change one after the other: a test that uses any of them needs that of the new picture.
    expect(current_tab(page).locator(f".files a.download:not([href='{before}'])")).to_be_visible(
        timeout=TIMEOUT_MILLISECONDS
    )
    picture = (download.get_attribute("href") or "").removeprefix("v1/images/").partition("?")[0]
    expect(current_tab(page).locator(f".history [data-show='{picture}'][aria-current=true]")).to_be_attached()
    expect(current_tab(page).locator(".stage.finished img")).to_be_visible()


def shown_picture(page: Page) -> Image.Image:
    """Returns the file of the picture that is shown."""
    source = current_tab(page).locator(".stage.finished img").get_attribute("src")
    response = page.request.get(f"{page.url.rstrip('/')}/{source}")
    return Image.open(BytesIO(response.body()))


def fact(page: Page, name: str) -> str:
    return current_tab(page).locator(f".details dl div:has(dt:text-is('{name}')) dd").inner_text()


def screenshot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def switch_schemes(page: Page) -> Iterator[str]:
    """Yields both colour schemes. The page was opened in the dark one, and the system then changes to the light one."""
    yield "dark"
    page.emulate_media(color_scheme="light")
    expect(page.locator("body.dark")).to_have_count(0)
    wait_until_painted(page)
    yield "light"


def test_ctrl_enter_paints_step_by_step(page: Page) -> None:
    set_steps(page, 80)
    prompt(page).fill(PROMPT)
    page.keyboard.press("Control+Enter")
    expect(current_tab(page).locator(".stage.preview img")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    # At once: the job ends while the test looks.
    parts_of_progress = re.compile(r"(?=.*of 80)(?=.*%)(?=.*left)", re.DOTALL)
    expect(current_tab(page).locator(".block.status")).to_have_text(parts_of_progress)
    screenshot(page, "running")
    picture = current_tab(page).locator(".stage.finished img")
    expect(picture).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    expect(picture).to_have_js_property("naturalWidth", SIDE)
    size = picture.bounding_box()
    assert size is not None
    assert size["width"] == size["height"] > 500, "never a tiny stamp"
    expect(current_tab(page).locator(".block.status")).to_contain_text("Done in")
    screenshot(page, "finished")


def test_ctrl_enter_works_from_every_field(page: Page) -> None:
    set_steps(page, 1)
    prompt(page).fill(PROMPT)
    seed_field(page).press("Control+Enter")
    expect(current_tab(page).locator(".state.done")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)


def test_stop_clears_the_stage_and_frees_the_worker(page: Page) -> None:
    set_steps(page, 150)
    prompt(page).fill(PROMPT)
    current_tab(page).get_by_role("button", name="Generate").click()
    expect(current_tab(page).locator(".stage.preview img")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    current_tab(page).get_by_role("button", name="Stop").click()
    expect(current_tab(page).locator(".block.status")).to_have_text("Stopped")
    expect(current_tab(page).locator(".stage.preview")).to_have_count(0)
    expect(current_tab(page).get_by_role("button", name="Stop")).to_be_hidden()
    generate(page)


def test_a_tab_that_is_closed_and_opened_again_shows_the_job_that_goes_on(browser: Browser, studio: Studio) -> None:
    empty_studio(studio)
    with open_window(browser) as first:
        open_page(first, studio.url)
        set_steps(first, 150)
        prompt(first).fill(PROMPT)
        set_batch_size(first, 8)
        current_tab(first).get_by_role("button", name="Generate").click()
        expect(current_tab(first).locator(".stage.preview img")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    with open_window(browser) as again:
        open_page(again, studio.url)
        status = current_tab(again).locator(".block.status")
        expect(status).to_contain_text("of 150", timeout=TIMEOUT_MILLISECONDS)
        expect(current_tab(again).locator(".stage.preview img")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
        current_tab(again).get_by_role("button", name="Stop").click()
        expect(status).to_have_text("Stopped", timeout=TIMEOUT_MILLISECONDS)


def test_a_reload_keeps_the_pictures_and_what_is_in_the_form(page: Page) -> None:
    set_batch_size(page, 2)
    seed_field(page).fill("41")
    generate(page, "a green star", steps=3)
    prompt(page).fill("a yellow square")
    current_tab(page).get_by_label("Negative prompt").fill("blue")
    current_tab(page).get_by_label("Negative prompt").press("Tab")
    source = current_tab(page).locator(".stage.finished img").get_attribute("src")
    page.reload()
    wait_until_usable(page)
    expect(prompt(page)).to_have_value("a yellow square")
    expect(current_tab(page).locator(".stage.finished img")).to_have_attribute("src", source or "")
    expect(current_tab(page).locator(".history [data-show]")).to_have_count(2)
    open_settings(page)
    expect(current_tab(page).get_by_label("number input for Steps")).to_have_value("3")
    expect(current_tab(page).get_by_label("number input for Batch size")).to_have_value("2")
    expect(seed_field(page)).to_have_value("41")
    expect(current_tab(page).get_by_label("Negative prompt")).to_have_value("blue")


def test_generate_puts_further_jobs_in_the_queue(page: Page) -> None:
    for text, steps in (("a red circle", 150), ("a green star", 150), ("a blue square", 60)):
        set_steps(page, steps)
        prompt(page).fill(text)
        current_tab(page).get_by_role("button", name="Generate").click()
        expect(current_tab(page).locator(".block.status")).not_to_have_text("")
    queue = current_tab(page).get_by_role("region", name="Queue")
    expect(queue.get_by_role("listitem")).to_have_count(2)
    screenshot(page, "queue")
    queue.get_by_role("button", name="Cancel: a green star").click()
    expect(queue.get_by_role("listitem")).to_have_count(1)
    current_tab(page).get_by_role("button", name="Stop").click()
    expect(current_tab(page).locator(".details .prompt")).to_have_text("a blue square", timeout=TIMEOUT_MILLISECONDS)
    expect(queue).to_have_count(0)
    expect(current_tab(page).locator(".history [data-show]")).to_have_count(1)


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"prompt": "a boat", "steps": 7, "seed": 5, "loras": [{"lora": "neon", "weight": 0.35}]}, "7"),
        ({"prompt": "a boat", "steps": "many", "colour": 1, "loras": "x", "model": "gone", "sampler": ["x"]}, "20"),
    ],
)
def test_a_link_opens_the_form_filled_in(page: Page, studio: Studio, fields: dict[str, object], shown: str) -> None:
    page.goto(f"{studio.url}/?request={quote(json.dumps(fields))}")
    wait_until_usable(page)
    expect(prompt(page)).to_have_value("a boat")
    open_settings(page)
    expect(current_tab(page).get_by_label("number input for Steps")).to_have_value(shown)
    if "seed" in fields:
        expect(seed_field(page)).to_have_value("5")
        expect(current_tab(page).get_by_label("number input for neon")).to_have_value("0.35")


def test_a_link_with_no_request_is_told(page: Page, studio: Studio) -> None:
    page.goto(f"{studio.url}/?request=[1")
    wait_until_usable(page)
    expect(current_tab(page).get_by_role("alert")).to_contain_text("request: must be a JSON object")


def test_the_same_seed_gives_the_same_picture(page: Page) -> None:
    generate(page)
    first, seed = shown_picture(page), fact(page, "Seed")
    generate(page)
    assert fact(page, "Seed") != seed, "an empty field is a new seed each time"
    current_tab(page).locator(".history [data-show]").nth(1).click()
    expect(current_tab(page).locator(".details dl")).to_contain_text(seed)
    current_tab(page).get_by_role("button", name="Reuse seed").click()
    expect(seed_field(page)).to_have_value(seed)
    steps, before = fact(page, "Steps"), current_tab(page).locator(".stage.finished img").get_attribute("src")
    current_tab(page).get_by_role("button", name="Reuse settings").click()
    expect(current_tab(page).get_by_label("number input for Steps")).to_have_value(steps)
    current_tab(page).get_by_role("button", name="Generate").click()
    expect(current_tab(page).locator(f".stage.finished img:not([src='{before}'])")).to_be_visible(
        timeout=TIMEOUT_MILLISECONDS
    )
    assert shown_picture(page).tobytes() == first.tobytes()


def test_all_settings_come_back_with_one_click(page: Page) -> None:
    generate(page, "a green star", steps=3)
    assert fact(page, "Steps") == "3"
    seed = fact(page, "Seed")
    prompt(page).fill("something else")
    set_steps(page, 9)
    current_tab(page).get_by_role("button", name="Reuse settings").click()
    expect(prompt(page)).to_have_value("a green star")
    expect(current_tab(page).get_by_label("number input for Steps")).to_have_value("3")
    expect(seed_field(page)).to_have_value(seed)


def test_settings_stay_when_the_models_are_looked_at_and_none_is_chosen(page: Page) -> None:
    steps = current_tab(page).get_by_label("number input for Steps")
    set_steps(page, 3)
    current_tab(page).get_by_label("Model", exact=True).click()
    prompt(page).fill(PROMPT)
    current_tab(page).get_by_role("button", name="Generate").click()
    expect(current_tab(page).locator(".stage.finished img")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    assert fact(page, "Steps") == "3"
    expect(steps).to_have_value("3")


def test_a_picture_is_downloaded_with_its_receipt(page: Page, tmp_path: Path) -> None:
    generate(page)
    page.evaluate("window.addEventListener('beforeunload', () => { window.wasLeft = true; })")
    with page.expect_download() as download:
        current_tab(page).get_by_role("link", name="Download").click()
    # A page that is left ends its connection to the server.
    assert page.evaluate("window.wasLeft") is None
    assert download.value.suggested_filename.startswith("a-red-circle-on-a-blue-background-")
    download.value.save_as(tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as picture:
        assert json.loads(picture.info["receipt"])["prompt"] == PROMPT
    current_tab(page).get_by_text("Receipt", exact=True).click()
    expect(current_tab(page).locator(".details pre")).to_contain_text('"sampler"')


def test_a_batch_is_in_the_history(page: Page) -> None:
    set_batch_size(page, 3)
    generate(page)
    expect(current_tab(page).locator(".history [data-show]")).to_have_count(3)


def test_more_prompts_are_in_the_history_each_with_its_own_receipt(page: Page) -> None:
    set_steps(page, 2)
    open_settings(page)
    current_tab(page).get_by_label("More prompts").fill("a green star\n\na yellow square\n")
    current_tab(page).get_by_label("More prompts").scroll_into_view_if_needed()
    screenshot(page, "more-prompts")
    generate(page)
    pictures = current_tab(page).locator(".history [data-show]")
    expect(pictures).to_have_count(3)
    pictures.nth(2).click()
    expect(current_tab(page).locator(".details .prompt")).to_have_text("a yellow square")
    current_tab(page).get_by_role("button", name="Reuse settings").click()
    expect(prompt(page)).to_have_value("a yellow square")
    expect(current_tab(page).get_by_label("More prompts")).to_have_value("")


def test_more_prompts_than_pictures_are_refused_by_name(page: Page) -> None:
    set_steps(page, 2)
    prompt(page).fill(PROMPT)
    set_batch_size(page, 5)
    current_tab(page).get_by_label("More prompts").fill("a green star")
    current_tab(page).get_by_role("button", name="Generate").click()
    expect(current_tab(page).locator(".state.failed")).to_contain_text(
        "More prompts cannot be used with a batch_size of 5"
    )


def test_a_picture_is_sent_to_image_to_image(page: Page) -> None:
    generate(page)
    current_tab(page).get_by_role("button", name="Send to image to image").click()
    expect(page.get_by_role("tab", name="Picture", exact=True)).to_have_attribute("aria-selected", "true")
    expect(current_tab(page).locator(".start img")).to_be_visible()
    expect(prompt(page)).to_have_value(PROMPT)
    generate(page, steps=4)
    assert fact(page, "Strength") == "0.7"
    screenshot(page, "image-to-image")


def test_an_uploaded_picture_keeps_its_proportions(page: Page, tmp_path: Path) -> None:
    Image.new("CMYK", (400, 200), (0, 200, 200, 0)).save(tmp_path / "start.jpg")
    open_tab(page, "Image to image")
    upload_field(page).set_input_files(tmp_path / "start.jpg")
    expect(current_tab(page).locator(".start img")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    generate(page)
    assert shown_picture(page).size == (360, 184)


def test_a_file_that_is_no_picture_is_refused_at_once(page: Page, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    open_tab(page, "Image to image")
    upload_field(page).set_input_files(tmp_path / "broken.png")
    expect(current_tab(page).get_by_role("alert")).to_contain_text("Start image must be a whole picture")
    expect(current_tab(page).locator(".start img")).to_have_count(0)


def test_image_to_image_needs_a_picture(page: Page) -> None:
    open_tab(page, "Image to image")
    prompt(page).fill(PROMPT)
    page.keyboard.press("Control+Enter")
    expect(current_tab(page).get_by_role("alert")).to_have_text("Add a start image.")
    open_tab(page, "Text to image")
    expect(current_tab(page).get_by_role("alert")).to_have_count(0)
    generate(page)


BAD_INPUT = (
    ("<hypernet:x:1>", "", "Prompt must not contain <hypernet:…>: only <lora:name:weight> is supported."),
    ("x" * 5000, "", "Prompt must have at most 4000 characters."),
    (PROMPT, "many", "Seed must be a number."),
    (PROMPT, "-1", "Seed must be between 0 and 4294967295."),
)


def test_bad_input_is_reported_in_one_line_and_the_page_works_on(page: Page) -> None:
    for text, seed, problem in BAD_INPUT:
        prompt(page).fill(text)
        seed_field(page).fill(seed)
        current_tab(page).get_by_role("button", name="Generate").click()
        expect(current_tab(page).get_by_role("alert")).to_have_text(problem)
    seed_field(page).fill("")
    generate(page, steps=1)


def test_a_prompt_is_text_and_never_markup(page: Page) -> None:
    text = "<b>a</b> {{red}} ${1 + 1} `circle` <img src=x onerror=alert(1)>"
    generate(page, text)
    expect(current_tab(page).locator(".details .prompt")).to_have_text(text)
    expect(current_tab(page).locator(".stage img")).to_have_attribute("alt", text)


def test_an_example_is_painted_by_keyboard(page: Page) -> None:
    set_steps(page, 1)
    current_tab(page).get_by_role("button", name="pixel art of a city at night").press("Enter")
    expect(current_tab(page).locator(".stage.finished img")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    expect(prompt(page)).to_have_value("pixel art of a city at night")
    expect(current_tab(page).locator(".details .prompt")).to_have_text("pixel art of a city at night")


@pytest.mark.parametrize("device", SIZES)
def test_it_fits_every_screen_in_both_schemes(browser: Browser, studio: Studio, device: str) -> None:
    width, height = SIZES[device]
    with open_window(browser, width, height, color_scheme="dark") as page:
        open_page(page, studio.url)
        for scheme in switch_schemes(page):
            for tab in ("Text to image", "Image to image"):
                open_tab(page, tab)
                expect(current_tab(page).get_by_role("button", name="Generate")).to_be_visible()
                assert page.evaluate("document.documentElement.scrollWidth") == width
                screenshot(page, f"{device}-{scheme}-{tab.lower().replace(' ', '-')}")
            paper = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
            assert (sum(paper) < 200) == (scheme == "dark")


def test_it_says_when_it_is_still_warming_up(browser: Browser, tmp_path: Path) -> None:
    with running_studio(tmp_path, until="healthz") as studio, open_window(browser) as page:
        os.kill(studio.engine_pid, signal.SIGSTOP)
        open_page(page, studio.url)
        expect(page.locator(".badge p")).to_contain_text("warming up", timeout=TIMEOUT_MILLISECONDS)
        prompt(page).fill(PROMPT)
        page.keyboard.press("Control+Enter")
        expect(current_tab(page).locator(".block.status")).to_have_text("Warming up", timeout=TIMEOUT_MILLISECONDS)
        os.kill(studio.engine_pid, signal.SIGCONT)
        expect(page.locator(".badge p")).to_contain_text("ready", timeout=TIMEOUT_MILLISECONDS)
        expect(current_tab(page).locator(".stage.finished img")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
