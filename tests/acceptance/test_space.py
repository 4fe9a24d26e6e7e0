"""The studio on a Space: served with TLS by somebody else, and shown inside a page of the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, FrameLocator, Page, expect

from tests.acceptance.conftest import CHROMIUM, CHROMIUM_FLAGS, Studio, guarded_studio, program
from tests.acceptance.space import HUB, SPACE, around
from tests.acceptance.test_page import PATIENCE
from tests.hub.server import StandInHub


@pytest.fixture(scope="module")
def space(people: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("space")
    with guarded_studio(folder, people, "--public-url", f"https://{SPACE}") as studio:
        yield studio


@pytest.fixture
def context(browser: Browser, space: Studio, tmp_path: Path) -> Iterator[BrowserContext]:
    """A browser that finds both on this machine."""
    port = urlsplit(space.url).port
    assert port is not None
    with around(port, tmp_path) as rules:
        flags = [*CHROMIUM_FLAGS, f"--host-resolver-rules={rules}"]
        other = browser.browser_type.launch(executable_path=CHROMIUM, args=flags)
        yield other.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 900})
        other.close()


def shown(page: Page) -> FrameLocator:
    page.goto(f"https://{HUB}/spaces/alice/studio")
    return page.frame_locator("iframe")


def test_signing_in_inside_a_page_of_the_hub_opens_a_window_and_then_shows_the_studio(context: BrowserContext) -> None:
    page = context.new_page()
    inside = shown(page)
    with context.expect_page() as opened:
        inside.locator("#provider").click()
    with opened.value.expect_event("close"):
        opened.value.get_by_role("link", name="alice").click()
    expect(inside.get_by_role("button", name="Generate").filter(visible=True)).to_be_visible(timeout=PATIENCE)
    cookies = {cookie["name"]: cookie for cookie in context.cookies()}
    session = cookies["studio_session"]
    assert session["secure"] and session["httpOnly"] and session["sameSite"] == "None"


def test_signing_in_in_a_window_of_its_own_needs_no_other(context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(f"https://{SPACE}/")
    page.locator("#provider").click()
    page.get_by_role("link", name="alice").click()
    expect(page).to_have_url(f"https://{SPACE}/")
    expect(page.get_by_role("button", name="Generate").filter(visible=True)).to_be_visible(timeout=PATIENCE)


def test_only_pages_of_the_hub_show_it_inside(space: Studio) -> None:
    with program(space, Host=SPACE) as web:
        answer = web.get("/login")
    assert answer.headers["content-security-policy"] == f"frame-ancestors 'self' https://{HUB}"


def test_cookies_of_a_space_are_for_https_and_for_one_page_around_it(space: Studio) -> None:
    with program(space, Host=SPACE) as web:
        cookies = [
            web.post("/login/token", data={"token": "hf_alice_token"}).headers["set-cookie"],
            web.get("/login/provider").headers["set-cookie"],
        ]
    assert all("samesite=none" in cookie.lower() and "secure" in cookie.lower() for cookie in cookies)
    assert cookies[0].endswith("; Partitioned")
