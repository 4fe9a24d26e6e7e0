"""A part of a picture is painted anew, in a real browser."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from tests.acceptance.conftest import TIMEOUT_MILLISECONDS, Studio, open_page, open_window, wait_until_usable
from tests.acceptance.test_page import (
    current_tab,
    fact,
    generate,
    open_tab,
    page,
    prompt,
    screenshot,
    shown_picture,
    upload_field,
)

__all__ = ["page"]


@pytest.fixture
def start(tmp_path: Path) -> Path:
    file = tmp_path / "start.png"
    Image.linear_gradient("L").resize((256, 256)).convert("RGB").save(file)
    return file


def open_editor(page: Page, start: Path) -> Locator:
    """Opens the tool with a start image. Returns the surface on which the mask is painted."""
    open_tab(page, "Inpaint")
    upload_field(page).set_input_files(start)
    surface = page.get_by_role("application")
    expect(surface).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    page.wait_for_function("document.querySelector('.mask-editor .sheet').clientWidth > 100")
    return surface


def draw(page: Page, *points: tuple[float, float]) -> None:
    """Draws a line with the mouse. Points are shares of the picture's sides."""
    box = page.locator(".mask-editor .sheet").bounding_box()
    assert box is not None
    first, *others = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*first)
    page.mouse.down()
    for point in others:
        page.mouse.move(*point, steps=8)
    page.mouse.up()


def read_mask(page: Page) -> np.ndarray:
    """Returns the mask that the form has, after it was stored."""
    field = page.locator("#field-mask_image textarea, #field-mask_image input")
    page.wait_for_function("/^[0-9a-f]{64}$/.test(document.querySelector('#field-mask_image textarea').value)")
    answer = page.request.get(f"{page.url.rstrip('/')}/v1/inputs/{field.input_value()}")
    return np.asarray(Image.open(BytesIO(answer.body())).convert("L"))


def test_what_is_under_the_mask_is_painted_anew_and_the_rest_stays(page: Page, studio: Studio, start: Path) -> None:
    open_editor(page, start)
    draw(page, (0.1, 0.25), (0.9, 0.25))
    screenshot(page, "mask")
    generate(page, "a yellow star on a blue background", steps=4)
    expect(page.get_by_role("application")).to_be_hidden()
    before, after = np.asarray(Image.open(start), int), np.asarray(shown_picture(page).convert("RGB"), int)
    difference = np.abs(after - before).max(axis=2)
    assert difference[64, 64:192].mean() > 20
    assert not difference[160:].any()
    newest = httpx2.get(f"{studio.url}/v1/pictures?tool=inpaint&limit=1").json()["pictures"][0]["receipt"]
    assert newest["mask_image"] and newest["init_image"] and newest["steps"] == 4
    assert fact(page, "Strength") == "0.7"
    page.reload()
    wait_until_usable(page)
    expect(page.get_by_role("tab", name="Inpaint")).to_have_attribute("aria-selected", "true")
    assert page.locator("#field-mask_image textarea").input_value() == newest["mask_image"]
    open_tab(page, "Text to image")
    current_tab(page).get_by_role("button", name="Reuse settings").click()
    expect(page.get_by_role("tab", name="Inpaint")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#field-mask_image textarea")).to_have_value(newest["mask_image"])


def test_a_mask_is_painted_erased_inverted_undone_and_cleared(page: Page, start: Path) -> None:
    open_editor(page, start)
    draw(page, (0.2, 0.5), (0.8, 0.5))
    line = read_mask(page)
    assert line[128, 128] == 255 and line[10, 10] == 0
    editor = page.locator(".mask-editor")
    page.get_by_role("button", name="Eraser").click()
    draw(page, (0.5, 0.5), (0.52, 0.5))
    page.get_by_role("button", name="Lasso").click()
    draw(page, (0.05, 0.05), (0.25, 0.05), (0.25, 0.25), (0.05, 0.25))
    page.get_by_role("button", name="Invert").click()
    page.wait_for_function("document.querySelector('.mask-editor canvas').width === 256")

    def expect_mask(values: dict[tuple[int, int], int]) -> None:
        for _ in range(50):
            mask = read_mask(page)
            if {place: int(mask[place]) for place in values} == values:
                return
            page.wait_for_timeout(100)
        raise AssertionError({place: int(mask[place]) for place in values})

    expect_mask({(128, 128): 255, (128, 70): 0, (38, 38): 0, (230, 230): 255})
    editor.get_by_role("button", name="Undo").click()
    expect_mask({(128, 128): 0, (128, 70): 255, (38, 38): 255, (230, 230): 0})
    editor.get_by_role("button", name="Undo").click()
    editor.get_by_role("button", name="Undo").click()
    expect_mask({(128, 128): 255, (38, 38): 0})
    page.get_by_role("button", name="Redo").click()
    expect_mask({(128, 128): 0, (38, 38): 0})
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#field-mask_image textarea")).to_have_value("")
    page.get_by_role("button", name="Generate").click()
    expect(current_tab(page).locator(".block.status")).to_contain_text("Paint over what is to change.")


def test_keys_alone_paint_a_mask(page: Page, start: Path) -> None:
    open_editor(page, start)
    page.get_by_role("button", name="Paint the mask").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("application")).to_be_focused()
    page.keyboard.press("]")
    for key in ("Enter", *["ArrowRight"] * 6, "Enter"):
        page.keyboard.press(key)
    mask = read_mask(page)
    assert mask[128, 128] == 255 and mask[128, 150] == 255 and mask[20, 20] == 0
    page.keyboard.press("Control+z")
    expect(page.locator("#field-mask_image textarea")).to_have_value("")
    page.keyboard.press("Escape")
    expect(page.get_by_role("application")).to_be_hidden()


def test_another_picture_has_no_mask(page: Page, start: Path) -> None:
    generate(page, "a red circle on a blue background")
    open_editor(page, start)
    draw(page, (0.2, 0.5), (0.8, 0.5))
    read_mask(page)
    page.get_by_role("button", name="Done").click()
    current_tab(page).get_by_role("button", name="Edit", exact=True).click()
    expect(page.locator("#field-mask_image textarea")).to_have_value("")
    expect(page.get_by_role("application")).to_be_visible()


def test_a_picture_is_extended_to_a_ratio(page: Page) -> None:
    generate(page, "a lake with mountains")
    before = np.asarray(shown_picture(page).convert("RGB"), int)
    current_tab(page).get_by_role("button", name="Extend", exact=True).click()
    expect(page.get_by_role("tab", name="Extend", exact=True)).to_have_attribute("aria-selected", "true")
    expect(current_tab(page).get_by_label("number input for Strength")).to_have_value("0.9")
    expect(current_tab(page).get_by_label("Aspect ratio")).to_be_hidden()
    current_tab(page).get_by_label("Extend ratio").click()
    page.get_by_role("option", name="16:9").click()
    generate(page, "a lake with mountains")
    after = np.asarray(shown_picture(page).convert("RGB"), int)
    assert after.shape[0] == 256 and abs(after.shape[1] / 256 - 16 / 9) < 0.05
    middle = (after.shape[1] - 256) // 2
    kept = [
        left
        for left in range(middle - 4, middle + 5)
        if np.array_equal(after[:, left + 40 : left + 216], before[:, 40:216])
    ]
    assert kept, "the picture in the middle stays"
    open_tab(page, "Picture")
    expect(current_tab(page).get_by_label("number input for Strength")).not_to_have_value("0.9")


def test_on_a_phone_a_finger_paints_and_two_fingers_zoom(browser: Browser, studio: Studio, start: Path) -> None:
    with open_window(browser, 390, 844, has_touch=True) as page:
        open_page(page, studio.url)
        open_editor(page, start)
        box = page.locator(".mask-editor .sheet").bounding_box()
        assert box is not None
        x, y, side = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box["width"]
        touch = page.context.new_cdp_session(page)

        def send(kind: str, *points: tuple[float, float]) -> None:
            fingers = [{"x": px, "y": py, "id": number} for number, (px, py) in enumerate(points)]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

        send("touchStart", (x, y))
        for step in range(8):
            send("touchMove", (x + step * 8, y))
        send("touchEnd")
        mask = read_mask(page)
        assert mask[128, 128] == 255
        send("touchStart", (x - 20, y + 80))
        send("touchStart", (x - 20, y + 80), (x + 20, y + 80))
        for step in range(8):
            send("touchMove", (x - 20 - step * 8, y + 80), (x + 20 + step * 8, y + 80))
        send("touchEnd")
        zoomed = page.locator(".mask-editor .sheet").bounding_box()
        assert zoomed is not None and zoomed["width"] > 1.5 * side
        assert np.array_equal(read_mask(page), mask)
        screenshot(page, "mask-phone")
        page.get_by_role("button", name="Done").click()
        prompt(page).fill("a yellow star")
