"""A picture follows what was drawn or uploaded, in a real browser."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from playwright.sync_api import Locator, Page, expect

from imagegen.media.control_maps.canny import canny
from tests.acceptance.conftest import TIMEOUT_MILLISECONDS
from tests.acceptance.test_page import current_tab, generate, page, screenshot, shown_picture

__all__ = ["page"]

# The corners of a star, as shares of the picture's sides.
CORNERS = [
    (0.35 + radius * math.sin(corner * math.pi / 5), 0.58 - radius * math.cos(corner * math.pi / 5))
    for corner, radius in enumerate([0.27, 0.11] * 5 + [0.27])
]
PROMPT = "a yellow star on a blue background, blueprint"
# Pixels between an edge of the picture and the line that it follows.
TOLERANCE = 4


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    image = Image.new("RGB", (256, 256), "white")
    ImageDraw.Draw(image).ellipse((60, 60, 196, 196), fill="red")
    image.save(tmp_path / "circle.png")
    return tmp_path / "circle.png"


def find_panel(page: Page) -> Locator:
    return current_tab(page).get_by_role("region", name="ControlNet")


def read_controls(page: Page) -> list[dict[str, Any]]:
    text = page.locator("#field-controls textarea").input_value()
    return json.loads(text) if text else []


def draw_star(page: Page) -> None:
    """Draws a star with the mouse, and waits until the form has it."""
    find_panel(page).get_by_role("button", name="Draw what to follow").click()
    dialog = page.get_by_role("dialog", name="Draw what to follow")
    box = dialog.get_by_role("img").bounding_box()
    assert box is not None
    first, *others = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in CORNERS]
    page.mouse.move(*first)
    page.mouse.down()
    for point in others:
        page.mouse.move(*point, steps=8)
    page.mouse.up()
    screenshot(page, "control-drawing")
    dialog.get_by_role("button", name="Done").click()
    expect(find_panel(page).get_by_role("article")).to_have_count(1, timeout=TIMEOUT_MILLISECONDS)


def measure_agreement(image: Image.Image) -> float:
    """Returns how well the edges of a picture are those of the drawn star: the F1 score, in 0..1."""
    edges = np.asarray(canny(image.convert("RGB")).convert("L")) > 0
    drawn = Image.new("L", image.size)
    ImageDraw.Draw(drawn).line([(x * image.width, y * image.height) for x, y in CORNERS], fill=255)
    line = np.asarray(drawn) > 0
    precision, recall = (thicken(line)[edges].mean(), thicken(edges)[line].mean())
    return float(2 * precision * recall / (precision + recall))


def thicken(pixels: np.ndarray) -> np.ndarray:
    wide = Image.fromarray(pixels.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(2 * TOLERANCE + 1))
    return np.asarray(wide) > 0


def test_a_picture_has_the_edges_that_were_drawn(page: Page) -> None:
    seed = current_tab(page).locator("#field-seed textarea, #field-seed input").first
    seed.fill("5")
    seed.press("Tab")
    generate(page, PROMPT, steps=12)
    without = measure_agreement(shown_picture(page))
    draw_star(page)
    weight = find_panel(page).get_by_role("slider", name="Weight")
    weight.focus()
    weight.press("End")
    generate(page, PROMPT, steps=12)
    find_panel(page).scroll_into_view_if_needed()
    screenshot(page, "controls")
    assert measure_agreement(shown_picture(page)) > without + 0.2
    (control,) = read_controls(page)
    current_tab(page).get_by_text("Receipt", exact=True).click()
    expect(current_tab(page).locator(".details pre")).to_contain_text(control["image"])
    find_panel(page).get_by_role("button", name="Remove").click()
    expect(find_panel(page).get_by_role("article")).to_have_count(0)
    assert read_controls(page) == []
    current_tab(page).get_by_role("button", name="Reuse settings").click()
    expect(find_panel(page).get_by_role("article")).to_have_count(1)
    assert read_controls(page) == [control | {"control_type": None}]


def test_the_map_of_an_upload_is_shown_and_a_reload_keeps_it(page: Page, picture: Path) -> None:
    with page.expect_file_chooser() as chooser:
        find_panel(page).get_by_role("button", name="Follow a picture").click()
    chooser.value.set_files(picture)
    panel = find_panel(page)
    expect(panel.get_by_alt_text("The control map")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    assert [control["preprocessor"] for control in read_controls(page)] == ["canny"]
    weight = panel.get_by_role("slider", name="Weight")
    weight.focus()
    weight.press("ArrowLeft")
    expect(panel.get_by_role("slider", name="Weight")).to_be_focused()
    panel.get_by_text("When and how").click()
    panel.get_by_label("What counts more").select_option("prompt")
    panel.get_by_label("Preprocessor").select_option("softedge")
    (control,) = read_controls(page)
    assert (control["weight"], control["mode"], control["preprocessor"]) == (0.95, "prompt", "softedge")
    page.reload()
    expect(find_panel(page).get_by_role("article")).to_have_count(1, timeout=TIMEOUT_MILLISECONDS)
    assert read_controls(page) == [control]


def test_another_tool_does_not_lose_them_and_upscaling_has_none(page: Page) -> None:
    draw_star(page)
    page.get_by_role("tab", name="Upscale", exact=True).click()
    expect(page.get_by_role("region", name="ControlNet")).to_be_hidden()
    page.get_by_role("tab", name="Picture", exact=True).click()
    expect(find_panel(page).get_by_role("article")).to_have_count(1)
