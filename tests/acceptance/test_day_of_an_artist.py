"""One way through the page, as an artist goes it: on a phone, and on a large screen."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal
from zipfile import ZipFile

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.acceptance.conftest import TIMEOUT_MILLISECONDS, Studio, empty_studio, open_page, open_window
from tests.acceptance.test_library_page import open_library, tiles
from tests.acceptance.test_page import current_tab, fact, prompt, screenshot, set_batch_size, set_steps

# Pictures of a job that still runs when its page is opened again.
BATCH = 8


@pytest.mark.parametrize(
    ("width", "height", "scheme"), [(390, 844, "light"), (2560, 1300, "dark")], ids=["phone", "large screen"]
)
def test_a_picture_is_made_found_again_varied_used_downloaded_and_deleted(
    browser: Browser, studio: Studio, tmp_path: Path, width: int, height: int, scheme: Literal["light", "dark"]
) -> None:
    empty_studio(studio)
    with open_window(browser, width, height, color_scheme=scheme) as page:
        open_page(page, studio.url)
        set_steps(page, 150)
        set_batch_size(page, BATCH)
        prompt(page).fill("a green star")
        current_tab(page).get_by_role("button", name="Generate").click()
        expect(current_tab(page).locator(".stage.preview img")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    with open_window(browser, width, height, color_scheme=scheme) as page:
        open_page(page, studio.url)
        keep_running_job(page)
        vary_and_send(page)
        screenshot(page, f"{width}-{scheme}-sent")
    with open_window(browser, width, height, color_scheme=scheme) as page:
        tomorrow = datetime.now() + timedelta(days=1)  # noqa: DTZ005 The browser has the same time zone.
        page.clock.set_fixed_time(tomorrow)
        open_page(page, studio.url)
        open_library(page)
        page.get_by_label("Search", exact=True).fill("boat")
        expect(tiles(page)).to_have_count(3)
        expect(page.get_by_role("heading", name="Yesterday")).to_be_visible()
        screenshot(page, f"{width}-{scheme}-found")
        download_delete_and_undo(page, tmp_path / "pictures.zip")
        page.get_by_role("tab", name="Create").click()
        expect(history(page)).to_have_count(BATCH + 3)


def history(page: Page) -> Locator:
    return current_tab(page).locator(".history [data-show]")


def keep_running_job(page: Page) -> None:
    expect(current_tab(page).locator(".stage.preview img")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    current_tab(page).get_by_role("button", name="Keep what is there").click()
    expect(current_tab(page).locator(".stage.finished img")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)


def vary_and_send(page: Page) -> None:
    """Makes a picture, varies it, and makes one that starts from the variation."""
    set_steps(page, 2)
    set_batch_size(page, 1)
    prompt(page).fill("a boat on the sea")
    current_tab(page).get_by_role("button", name="Generate").click()
    expect(history(page)).to_have_count(BATCH + 1, timeout=TIMEOUT_MILLISECONDS)
    current_tab(page).get_by_role("button", name="Vary").click()
    expect(history(page)).to_have_count(BATCH + 2, timeout=TIMEOUT_MILLISECONDS)
    assert fact(page, "Variation strength") == "0.25"
    current_tab(page).get_by_role("button", name="Send to image to image").click()
    expect(page.get_by_role("tab", name="Picture", exact=True)).to_have_attribute("aria-selected", "true")
    expect(current_tab(page).locator(".start img")).to_be_visible()
    current_tab(page).get_by_role("button", name="Generate").click()
    expect(history(page)).to_have_count(BATCH + 3, timeout=TIMEOUT_MILLISECONDS)


def download_delete_and_undo(page: Page, file: Path) -> None:
    for box in page.get_by_label("Select: a boat on the sea").all():
        box.check()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as zip").click()
    download.value.save_as(file)
    with ZipFile(file) as archive:
        assert len(archive.namelist()) == 3
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(tiles(page)).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(tiles(page)).to_have_count(3)
