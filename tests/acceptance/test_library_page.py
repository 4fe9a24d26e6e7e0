"""The library in a real browser: pictures are found, looked at, marked, downloaded, deleted, and used again."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import httpx2
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from tests.acceptance.conftest import SIDE, TIMEOUT_MILLISECONDS, Studio, empty_studio, open_page, open_window
from tests.acceptance.test_page import SIZES, current_tab, prompt, screenshot, seed_field, switch_schemes

PROMPTS = ("a red circle on blue", "a green star on white", "a lake at sunset")


@pytest.fixture
def page(blank_page: Page, studio: Studio) -> Iterator[Page]:
    """The library with three pictures, the newest first, and a clean console."""
    oddities: list[str] = []
    blank_page.on("console", lambda message: oddities.append(message.text) if message.type == "error" else None)
    blank_page.on("pageerror", lambda error: oddities.append(str(error)))
    empty_studio(studio)
    for seed, text in enumerate(PROMPTS):
        make_picture(studio, prompt=text, seed=seed)
    open_page(blank_page, studio.url)
    open_library(blank_page)
    expect(tiles(blank_page)).to_have_count(3)
    yield blank_page
    assert oddities == []


def make_picture(studio: Studio, path: str = "txt2img", **fields: Any) -> dict[str, Any]:
    answer = httpx2.post(f"{studio.url}/v1/{path}", json={"steps": 2, **fields}, timeout=90)
    made: dict[str, Any] = answer.json()
    assert answer.status_code == 200, made
    return made


def open_library(page: Page) -> None:
    page.get_by_role("tab", name="Library").click()
    expect(page.get_by_label("Search", exact=True)).to_be_visible()


def tiles(page: Page) -> Locator:
    return page.locator(".tile")


def tile_button(page: Page, text: str) -> Locator:
    return page.get_by_role("button", name=text, exact=True)


def open_picture(page: Page, text: str) -> Locator:
    page.get_by_role("button", name=text, exact=True).click()
    viewer = page.get_by_role("dialog")
    expect(viewer.locator(".viewer-prompt")).to_have_text(text)
    return viewer


def test_pictures_are_found_by_words_and_filters(page: Page) -> None:
    box = tiles(page).first.bounding_box()
    assert box is not None and box["width"] == box["height"] > 100
    expect(page.get_by_label("Tool")).to_have_js_property("selectedIndex", 0)
    search = page.get_by_label("Search", exact=True)
    search.fill("circ blue")
    expect(tiles(page)).to_have_count(1)
    expect(page.get_by_role("button", name=PROMPTS[0])).to_be_visible()
    search.fill("nothing of this")
    expect(page.locator(".library-end")).to_have_text("No picture fits.")
    search.fill("")
    expect(tiles(page)).to_have_count(3)
    page.get_by_label("Tool").select_option("Image to image")
    expect(tiles(page)).to_have_count(0)
    page.get_by_label("Tool").select_option("All tools")
    page.get_by_label("To", exact=True).fill("2020-01-01")
    expect(tiles(page)).to_have_count(0)
    page.get_by_label("To", exact=True).fill("")
    expect(page.get_by_role("heading", name="Today")).to_be_visible()


def test_a_picture_is_looked_at_and_marked_by_keyboard(page: Page) -> None:
    page.get_by_role("button", name=PROMPTS[2], exact=True).press("Enter")
    viewer = page.get_by_role("dialog")
    expect(viewer.locator(".viewer-prompt")).to_have_text(PROMPTS[2])
    expect(viewer.get_by_role("img", name=PROMPTS[2])).to_have_js_property("complete", True)
    screenshot(page, "library-viewer")
    page.keyboard.press("ArrowRight")
    expect(viewer.locator(".viewer-prompt")).to_have_text(PROMPTS[1])
    page.keyboard.press("f")
    expect(viewer.get_by_role("button", name="Favourite")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("z")
    expect(viewer.locator(".viewer-stage")).to_contain_class("zoomed")
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    page.get_by_role("button", name="★ Favourites").click()
    expect(tiles(page)).to_have_count(1)


def measure_width(picture: Locator) -> float:
    box = picture.bounding_box()
    assert box is not None
    return box["width"]


def test_a_picture_is_zoomed_by_keys_buttons_and_wheel(page: Page) -> None:
    viewer = open_picture(page, PROMPTS[2])
    picture = viewer.get_by_role("img", name=PROMPTS[2])
    expect(picture).to_have_js_property("naturalWidth", SIDE)
    fitting = measure_width(picture)
    page.keyboard.press("1")
    assert measure_width(picture) == SIDE
    page.keyboard.press("+")
    assert measure_width(picture) == SIDE * 1.25
    page.keyboard.press("-")
    assert measure_width(picture) == SIDE
    viewer.get_by_role("button", name="Fit").click()
    assert measure_width(picture) == fitting
    picture.hover()
    for _ in range(20):
        page.mouse.wheel(0, -100)
    assert measure_width(picture) == SIDE * 16
    screenshot(page, "library-viewer-zoomed")
    place = picture.bounding_box()
    page.mouse.down()
    page.mouse.move(300, 300)
    page.mouse.up()
    assert picture.bounding_box() != place, "it was dragged"
    assert measure_width(picture) == SIDE * 16
    page.keyboard.press("0")
    assert measure_width(picture) == fitting


def test_the_picture_on_the_stage_has_the_large_view_too(page: Page) -> None:
    page.get_by_role("tab", name="Create").click()
    large = page.get_by_role("button", name="Large view")
    large.focus()
    page.keyboard.press("Enter")
    viewer = page.get_by_role("dialog")
    expect(viewer.locator(".viewer-prompt")).to_have_text(PROMPTS[2])
    expect(viewer.get_by_role("button", name="Use settings")).to_have_count(0)
    screenshot(page, "large-view")
    page.keyboard.press("ArrowRight")
    expect(viewer.locator(".viewer-prompt")).to_have_text(PROMPTS[1])
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    expect(page.locator(".stage.finished img")).to_have_attribute("alt", PROMPTS[1])
    expect(large).to_be_focused()
    page.locator(".stage.finished img").click()
    expect(viewer.locator(".viewer-prompt")).to_have_text(PROMPTS[1])
    page.keyboard.press("f")
    expect(viewer.get_by_role("button", name="Favourite")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Delete")
    expect(viewer.locator(".viewer-prompt")).to_have_text(PROMPTS[0])
    viewer.get_by_role("button", name="Undo").click()
    viewer.get_by_role("button", name="Close").click()
    expect(page.locator(".history [data-show]")).to_have_count(3)


def test_a_deleted_picture_comes_back(page: Page) -> None:
    open_picture(page, PROMPTS[1]).get_by_role("button", name="Delete").click()
    viewer = page.get_by_role("dialog")
    expect(viewer.locator(".viewer-prompt")).to_have_text(PROMPTS[0])
    expect(tiles(page)).to_have_count(2)
    viewer.get_by_role("button", name="Undo").click()
    expect(tiles(page)).to_have_count(3)


def test_several_are_selected_put_into_an_album_downloaded_and_deleted(page: Page, tmp_path: Path) -> None:
    page.get_by_label(f"Select: {PROMPTS[2]}").check()
    page.get_by_label(f"Select: {PROMPTS[1]}").click(modifiers=["Shift"])
    expect(page.get_by_text("2 selected")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as zip").click()
    download.value.save_as(tmp_path / "pictures.zip")
    with ZipFile(tmp_path / "pictures.zip") as archive:
        assert archive.namelist() == ["a-lake-at-sunset-2.png", "a-green-star-on-white-1.png"]
        with Image.open(BytesIO(archive.read("a-lake-at-sunset-2.png"))) as image:
            assert json.loads(image.info["receipt"])["prompt"] == PROMPTS[2]
    page.get_by_label("Name of an album").focus()
    page.keyboard.type("Best of")
    page.keyboard.press("Enter")
    page.get_by_label("Album", exact=True).select_option("Best of (2)")
    expect(tiles(page)).to_have_count(2)
    for text in PROMPTS[1:]:
        page.get_by_label(f"Select: {text}").check()
    screenshot(page, "library-selection")
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(tiles(page)).to_have_count(0)
    page.get_by_label("Album", exact=True).select_option("All albums")
    expect(tiles(page)).to_have_count(1)


def test_a_download_has_the_name_of_its_prompt_in_each_format(page: Page, tmp_path: Path) -> None:
    viewer = open_picture(page, PROMPTS[0])
    for name, ending in (("PNG", "png"), ("WebP", "webp"), ("JPEG", "jpeg")):
        with page.expect_download() as download:
            viewer.get_by_role("button", name=f"Download as {name}").click()
        assert download.value.suggested_filename == f"a-red-circle-on-blue-0.{ending}"
        download.value.save_as(tmp_path / f"picture.{ending}")
        with Image.open(tmp_path / f"picture.{ending}") as image:
            assert image.format == name.upper()


def test_settings_and_seed_are_used_again(page: Page) -> None:
    open_picture(page, PROMPTS[2]).get_by_role("button", name="Use settings").click()
    expect(page.get_by_role("tab", name="Create")).to_have_attribute("aria-selected", "true")
    expect(prompt(page)).to_have_value(PROMPTS[2])
    expect(seed_field(page)).to_have_value("2")
    open_library(page)
    open_picture(page, PROMPTS[1]).get_by_role("button", name="Use seed").click()
    expect(seed_field(page)).to_have_value("1")
    expect(prompt(page)).to_have_value(PROMPTS[2])


def test_a_picture_is_sent_to_image_to_image_and_compared_with_its_result(page: Page, studio: Studio) -> None:
    open_picture(page, PROMPTS[0]).get_by_role("button", name="Send to image to image").click()
    expect(page.get_by_role("tab", name="Picture", exact=True)).to_have_attribute("aria-selected", "true")
    expect(current_tab(page).locator(".start img")).to_be_visible()
    expect(prompt(page)).to_have_value(PROMPTS[0])
    with httpx2.Client(base_url=studio.url, timeout=90) as web:
        start = base64.b64encode(web.get(web.get("/v1/pictures").json()["pictures"][0]["url"]).content).decode()
    make_picture(studio, "img2img", prompt="a lake at night", init_image=start)
    open_library(page)
    viewer = open_picture(page, "a lake at night")
    before = viewer.get_by_role("img", name="The start image")
    expect(before).to_be_visible()
    expect(before).not_to_have_js_property("naturalWidth", 0)
    viewer.get_by_label("Compare with the start image").fill("80")
    assert "80%" in (viewer.locator(".viewer-stage").get_attribute("style") or "")
    assert before.bounding_box() == viewer.get_by_role("img", name="a lake at night").bounding_box()
    page.keyboard.press("Tab")
    page.keyboard.press("1")
    assert measure_width(before) == SIDE


def press_until_focused(page: Page, key: str, target: Locator) -> None:
    """Presses a key, such as Tab, until the focus has reached a control."""
    for _ in range(80):
        page.keyboard.press(key)
        if target.evaluate("element => element === document.activeElement"):
            return
    expect(target).to_be_focused()


def test_one_searches_opens_and_marks_by_keyboard_alone(page: Page) -> None:
    press = page.keyboard.press
    page.get_by_role("tab", name="Library").focus()
    press_until_focused(page, "Tab", page.get_by_label("Search", exact=True))
    page.keyboard.type("lake")
    expect(tiles(page)).to_have_count(1)
    press("Control+a")
    press("Delete")
    expect(tiles(page)).to_have_count(3)
    press_until_focused(page, "Tab", tile_button(page, PROMPTS[2]))
    press("Enter")
    viewer = page.get_by_role("dialog")
    expect(viewer.locator(".viewer-prompt")).to_have_text(PROMPTS[2])
    press("ArrowRight")
    press("f")
    expect(viewer.get_by_role("button", name="Favourite")).to_have_attribute("aria-pressed", "true")
    press("Escape")
    expect(tile_button(page, PROMPTS[1])).to_be_focused()
    expect(page.locator(".tile[data-favourite=true]")).to_have_count(1)


def test_one_selects_downloads_deletes_and_undoes_by_keyboard_alone(page: Page, tmp_path: Path) -> None:
    press = page.keyboard.press
    page.get_by_role("tab", name="Library").focus()
    press_until_focused(page, "Tab", tile_button(page, PROMPTS[2]))
    press("ArrowRight")
    press("Shift+ArrowRight")
    expect(tile_button(page, PROMPTS[0])).to_be_focused()
    expect(page.get_by_text("2 selected")).to_be_visible()
    press("Home")
    press_until_focused(page, "Shift+Tab", page.get_by_role("button", name="Download as zip"))
    with page.expect_download() as download:
        press("Enter")
    download.value.save_as(tmp_path / "pictures.zip")
    with ZipFile(tmp_path / "pictures.zip") as archive:
        assert sorted(archive.namelist()) == ["a-green-star-on-white-1.png", "a-red-circle-on-blue-0.png"]
    press_until_focused(page, "Tab", page.get_by_role("button", name="Delete", exact=True))
    press("Enter")
    expect(tiles(page)).to_have_count(1)
    expect(tile_button(page, PROMPTS[2])).to_be_focused()
    press("Control+z")
    expect(tiles(page)).to_have_count(3)
    expect(tile_button(page, PROMPTS[2])).to_be_focused()
    press("Delete")
    expect(tile_button(page, PROMPTS[1])).to_be_focused()
    press_until_focused(page, "Tab", page.get_by_role("button", name="Undo"))
    press("Enter")
    expect(tiles(page)).to_have_count(3)


def test_a_box_is_checked_and_a_row_selected_with_shift_by_keyboard(page: Page) -> None:
    page.get_by_label(f"Select: {PROMPTS[2]}").press("Space")
    expect(page.get_by_text("1 selected")).to_be_visible()
    page.get_by_label(f"Select: {PROMPTS[0]}").press("Shift+Space")
    expect(page.get_by_text("3 selected")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".tile.selected")).to_have_count(0)


def test_pictures_that_others_make_and_delete_are_seen_without_a_reload(page: Page, studio: Studio) -> None:
    tile_button(page, PROMPTS[1]).focus()
    made = make_picture(studio, prompt="a ship in the fog", seed=9)
    expect(tiles(page)).to_have_count(4, timeout=TIMEOUT_MILLISECONDS)
    expect(tile_button(page, "a ship in the fog")).to_be_visible()
    expect(tile_button(page, PROMPTS[1])).to_be_focused()
    viewer = open_picture(page, PROMPTS[0])
    httpx2.delete(f"{studio.url}/v1/pictures/{made['id']}")
    expect(tiles(page)).to_have_count(3, timeout=TIMEOUT_MILLISECONDS)
    expect(viewer.locator(".viewer-prompt")).to_have_text(PROMPTS[0])
    viewer.get_by_role("button", name="Delete").click()
    expect(tiles(page)).to_have_count(2)
    expect(page.get_by_role("button", name=PROMPTS[0], exact=True)).to_have_count(0)


def test_a_tab_that_is_looked_at_again_is_up_to_date(page: Page, studio: Studio) -> None:
    page.get_by_role("tab", name="Create").click()
    make_picture(studio, prompt="a ship in the fog", seed=9)
    open_library(page)
    expect(tiles(page)).to_have_count(4)


def test_the_bar_tells_the_use_of_the_disk(page: Page, studio: Studio) -> None:
    size = httpx2.get(f"{studio.url}/v1/pictures/usage").json()["size_bytes"]
    expect(page.locator(".library-use")).to_have_text(f"3 pictures, {size / 1000:,.1f} kB".replace(".0 ", " "))
    usage = {"pictures": 1214, "size_bytes": 1_240_000_000, "limit_bytes": 10_000_000_000, "keep_days": 30}
    page.route("**/v1/pictures/usage", lambda route: route.fulfill(json={**usage, "expiring": 0}))
    use = page.locator(".library-use")
    expect(use).to_have_text("1,214 pictures, 1.2 GB of 10 GB", timeout=TIMEOUT_MILLISECONDS)
    page.route("**/v1/pictures/usage", lambda route: route.fulfill(json={**usage, "expiring": 3}))
    text = "1,214 pictures, 1.2 GB of 10 GB · kept for 30 days; favourites stay"
    expect(use).to_have_text(text, timeout=TIMEOUT_MILLISECONDS)


def test_a_picture_is_found_tomorrow(browser: Browser, studio: Studio) -> None:
    empty_studio(studio)
    make_picture(studio, prompt=PROMPTS[0], seed=0)
    tomorrow = datetime.now() + timedelta(days=1)  # noqa: DTZ005 The browser has the same time zone.
    with open_window(browser) as page:
        page.clock.set_fixed_time(tomorrow)
        open_page(page, studio.url)
        open_library(page)
        expect(page.get_by_role("heading", name="Yesterday")).to_be_visible()
        page.get_by_label("Search", exact=True).fill("circle")
        expect(page.get_by_role("button", name=PROMPTS[0], exact=True)).to_be_visible()
        page.get_by_label("From", exact=True).fill(tomorrow.date().isoformat())
        expect(tiles(page)).to_have_count(0)
        page.clock.set_fixed_time(tomorrow + timedelta(days=1))
        page.get_by_label("From", exact=True).fill("")
        expect(page.get_by_role("heading", name=f"{tomorrow - timedelta(days=1):%A}")).to_be_visible()


@pytest.fixture
def phone(browser: Browser, studio: Studio) -> Iterator[Page]:
    """The library with three pictures, on a screen that is touched."""
    empty_studio(studio)
    for seed, text in enumerate(PROMPTS):
        make_picture(studio, prompt=text, seed=seed)
    with open_window(browser, *SIZES["phone"], has_touch=True, is_mobile=True) as page:
        open_page(page, studio.url)
        open_library(page)
        expect(tiles(page)).to_have_count(3)
        yield page


def test_a_long_press_selects_on_a_phone(phone: Page) -> None:
    box = tile_button(phone, PROMPTS[1]).bounding_box()
    assert box is not None
    point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    touch = phone.context.new_cdp_session(phone)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    expect(phone.get_by_text("1 selected")).to_be_visible()
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    tile_button(phone, PROMPTS[0]).tap()
    expect(phone.get_by_text("2 selected")).to_be_visible()
    expect(phone.get_by_role("dialog")).to_be_hidden()
    phone.get_by_role("button", name="Clear selection").tap()
    tile_button(phone, PROMPTS[0]).tap()
    expect(phone.get_by_role("dialog")).to_be_visible()


def test_a_visible_box_selects_on_a_phone(phone: Page) -> None:
    box = phone.get_by_label(f"Select: {PROMPTS[1]}")
    expect(box).to_have_css("opacity", "0.85")
    box.tap()
    expect(phone.get_by_text("1 selected")).to_be_visible()


def test_a_finger_that_scrolls_selects_nothing(phone: Page) -> None:
    box = tile_button(phone, PROMPTS[1]).bounding_box()
    assert box is not None
    point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    touch = phone.context.new_cdp_session(phone)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    for distance in range(0, 200, 20):
        moved = [{"x": point["x"], "y": point["y"] - distance}]
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": moved})
    phone.wait_for_timeout(1000)
    expect(phone.locator(".tile.selected")).to_have_count(0)
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


@pytest.mark.parametrize("device", SIZES)
def test_it_fits_every_screen_in_both_schemes(browser: Browser, studio: Studio, device: str) -> None:
    width, height = SIZES[device]
    with open_window(browser, width, height, color_scheme="dark") as page:
        open_page(page, studio.url)
        if device == "phone":
            page.evaluate("scrollTo(0, 0)")
        open_library(page)
        for scheme in switch_schemes(page):
            assert page.evaluate("document.documentElement.scrollWidth") == width
            screenshot(page, f"{device}-{scheme}-library")
