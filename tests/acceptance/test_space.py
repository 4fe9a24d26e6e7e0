"""The studio on a Space: behind a TLS proxy, and embedded in a page of the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.acceptance.conftest import (
    TIMEOUT_MILLISECONDS,
    Studio,
    launch_browser,
    make_client,
    open_window,
    wait_until_usable,
)
from tests.acceptance.space_proxy import HUB, SPACE, serve_space_and_hub


@pytest.fixture(scope="module")
def space_browser(browser: Browser, space: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that resolves both host names to this machine."""
    port = urlsplit(space.url).port
    assert port is not None
    with (
        serve_space_and_hub(port, tmp_path_factory.mktemp("proxy")) as rules,
        launch_browser(browser.browser_type, rules) as space_browser,
    ):
        yield space_browser


@pytest.fixture
def page(space_browser: Browser) -> Iterator[Page]:
    with open_window(space_browser, ignore_https_errors=True) as page:
        yield page


def test_signing_in_inside_a_page_of_the_hub_opens_a_window_and_then_shows_the_studio(page: Page) -> None:
    page.goto(f"https://{HUB}/spaces/alice/studio")
    inside = page.frame_locator("iframe")
    with page.context.expect_page() as opened:
        inside.locator("#provider").click()
    with opened.value.expect_event("close"):
        opened.value.get_by_role("link", name="alice").click()
    expect(inside.get_by_role("button", name="Generate").filter(visible=True)).to_be_visible(
        timeout=TIMEOUT_MILLISECONDS
    )
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    session = cookies["studio_session"]
    assert session["secure"] and session["httpOnly"] and session["sameSite"] == "None"


def test_signing_in_in_a_window_of_its_own_needs_no_other(page: Page) -> None:
    page.goto(f"https://{SPACE}/")
    page.locator("#provider").click()
    page.get_by_role("link", name="alice").click()
    expect(page).to_have_url(f"https://{SPACE}/")
    wait_until_usable(page)


def test_only_pages_of_the_hub_show_it_inside(space: Studio) -> None:
    with make_client(space, Host=SPACE) as web:
        answer = web.get("/login")
    assert answer.headers["content-security-policy"] == f"frame-ancestors 'self' https://{HUB}"


def test_cookies_of_a_space_are_for_https_and_for_one_page_around_it(space: Studio) -> None:
    with make_client(space, Host=SPACE) as web:
        cookies = [
            web.post("/login/token", data={"token": "hf_alice_token"}).headers["set-cookie"],
            web.get("/login/provider").headers["set-cookie"],
        ]
    assert all("samesite=none" in cookie.lower() and "secure" in cookie.lower() for cookie in cookies)
    assert cookies[0].endswith("; Partitioned")
