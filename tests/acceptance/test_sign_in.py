"""Signing in with a real browser, at a provider that stands in for the Hub's."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from imagegen.access.keys import KeyStore
from tests.acceptance.conftest import (
    ALICE,
    BOB,
    SIDE,
    TIMEOUT_MILLISECONDS,
    Studio,
    make_client,
    open_window,
    wait_until_usable,
)
from tests.acceptance.test_accessibility import list_violations
from tests.acceptance.test_models_page import open_cards
from tests.acceptance.test_page import current_tab, generate, screenshot
from tests.hub.server import StandInHub
from tests.unit.model_files import make_snapshot_folder, write_lora, write_unet_model

COOKIE = "studio_session"


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Page]:
    """A person with a new browser."""
    with open_window(browser) as page:
        yield page


@pytest.fixture
def other(browser: Browser) -> Iterator[Page]:
    with open_window(browser) as page:
        yield page


def sign_in(page: Page, studio: Studio, name: str) -> None:
    """Signs in from the page of the studio at the provider's page, and returns."""
    page.goto(studio.url)
    page.locator("#provider").click()
    page.get_by_role("link", name=name).click()


def session_of(page: Page) -> str:
    (cookie,) = [cookie for cookie in page.context.cookies() if cookie["name"] == COOKIE]
    return cookie["value"]


def reads(studio: Studio, session: str) -> int:
    with make_client(studio, Cookie=f"{COOKIE}={session}") as web:
        return web.get("/v1/models/list").status_code


def test_a_provider_that_is_down_costs_a_page_and_no_more(
    allowlist_studio: Studio, frail_hub: StandInHub, visitor: Page
) -> None:
    for route in ("/.well-known/openid-configuration", "/oauth/token"):
        frail_hub.add_fault(route, times=None, status=500)
        visitor.goto(f"{allowlist_studio.url}/login")
        with visitor.expect_navigation(url=re.compile(rf"{allowlist_studio.url}/login/.*")) as last:
            visitor.locator("#provider").click()
            if route == "/oauth/token":
                visitor.get_by_role("link", name="alice").click()
        assert last.value is not None and last.value.status == 503
        expect(visitor.get_by_role("alert")).to_contain_text("cannot be reached")
        assert "Traceback" not in visitor.content() and COOKIE not in str(visitor.context.cookies())
        frail_hub.clear_faults()
    sign_in(visitor, allowlist_studio, "alice")
    expect(visitor).to_have_url(f"{allowlist_studio.url}/")


def test_a_signed_in_user_makes_and_sees_a_picture(guarded: Studio, visitor: Page) -> None:
    sign_in(visitor, guarded, "alice")
    expect(visitor).to_have_url(f"{guarded.url}/")
    wait_until_usable(visitor)
    generate(visitor)
    picture = current_tab(visitor).locator(".stage.finished img")
    expect(picture).to_have_js_property("naturalWidth", SIDE)


def test_nobody_else_sees_the_picture(guarded: Studio, visitor: Page, other: Page) -> None:
    sign_in(visitor, guarded, "alice")
    wait_until_usable(visitor)
    generate(visitor)
    source = current_tab(visitor).locator(".stage.finished img").get_attribute("src")
    address = visitor.evaluate("source => new URL(source, document.baseURI).href", source)
    assert visitor.request.get(address).status == 200
    assert other.request.get(address).status == 401
    sign_in(other, guarded, "bob")
    wait_until_usable(other)
    assert other.request.get(address).status == 404


def test_the_page_leads_to_signing_in(guarded: Studio, visitor: Page) -> None:
    visitor.goto(guarded.url)
    expect(visitor).to_have_url(f"{guarded.url}/login")
    expect(visitor.get_by_role("heading", name="Image Studio")).to_be_visible()


@pytest.fixture
def downloads(guarded: Studio) -> Iterator[None]:
    """A model and a LoRA that the studio has downloaded."""
    snapshots = [make_snapshot_folder(guarded.models_dir / "hub", f"someone/{name}") for name in ("model", "lora")]
    write_unet_model(snapshots[0])
    write_lora(snapshots[1] / "lora.safetensors")
    yield
    for snapshot in snapshots:
        shutil.rmtree(snapshot.parents[1])


def test_only_administrators_see_how_to_download_and_delete(
    guarded: Studio, visitor: Page, other: Page, downloads: None
) -> None:
    for page, name in ((visitor, "alice"), (other, "boss")):
        sign_in(page, guarded, name)
        wait_until_usable(page)
        for tab in ("Models", "LoRAs"):
            cards = open_cards(page, tab)
            is_administrator = name == "boss"
            refusal = cards.get_by_text("Only an administrator of this studio may download and delete.")
            expect(refusal).to_be_visible(visible=not is_administrator)
            expect(cards.get_by_role("textbox", name="Load a")).to_be_visible(visible=is_administrator)
            screenshot(page, f"{tab}-of-{name}".lower())
            assert list_violations(page, f"studio-{tab.lower()}") == []
            deletes, downloads_buttons = (cards.get_by_role("button", name=each) for each in ("Delete", "Download"))
            if is_administrator:
                expect(deletes).to_have_count(1)
            else:
                expect(deletes.or_(downloads_buttons)).to_have_count(0)
            expect(cards.get_by_role("button", name="Use").first).to_be_visible()


def test_signing_out_deletes_the_session(guarded: Studio, visitor: Page) -> None:
    sign_in(visitor, guarded, "alice")
    session = session_of(visitor)
    assert reads(guarded, session) == 200
    visitor.get_by_role("button", name="Sign out").click(timeout=TIMEOUT_MILLISECONDS)
    expect(visitor).to_have_url(f"{guarded.url}/login")
    assert reads(guarded, session) == 401
    assert COOKIE not in str(visitor.context.cookies())


def test_a_denied_authorization_gives_no_access(guarded: Studio, visitor: Page) -> None:
    sign_in(visitor, guarded, "Deny")
    expect(visitor.get_by_role("alert")).to_have_text(
        "You did not allow the studio to read your account name. Please sign in again and allow it."
    )
    assert COOKIE not in str(visitor.context.cookies())


def test_a_user_who_is_not_allowed_sees_an_error(allowlist_studio: Studio, visitor: Page) -> None:
    visitor.goto(allowlist_studio.url)
    visitor.locator("#provider").click()
    with visitor.expect_navigation(url=re.compile(".*/login/callback.*")) as last:
        visitor.get_by_role("link", name="bob").click()
    assert last.value is not None and last.value.status == 403
    expect(visitor.get_by_role("alert")).to_have_text(
        "bob may not use this studio. Please ask its administrator for access."
    )
    assert COOKIE not in str(visitor.context.cookies())


def test_a_token_can_be_typed_and_a_wrong_one_is_rejected(guarded: Studio, visitor: Page) -> None:
    visitor.goto(guarded.url)
    for token in ("hf_wrong", f" {ALICE} "):
        visitor.get_by_label("with a Hugging Face token").fill(token)
        visitor.get_by_role("button", name="Sign in").click()
        if token == "hf_wrong":
            expect(visitor.get_by_role("alert")).to_contain_text("The credentials are wrong or have expired.")
    expect(visitor).to_have_url(f"{guarded.url}/")
    assert ALICE not in session_of(visitor)


def test_scripts_do_not_see_the_cookie_which_says_nothing(guarded: Studio, visitor: Page) -> None:
    sign_in(visitor, guarded, "alice")
    (cookie,) = [cookie for cookie in visitor.context.cookies() if cookie["name"] == COOKIE]
    assert cookie["httpOnly"] and cookie["sameSite"] == "Lax" and cookie["path"] == "/"
    assert re.fullmatch(r"[\w-]{43}", cookie["value"])
    assert COOKIE not in visitor.evaluate("document.cookie")


@pytest.mark.parametrize(("token", "status"), [("hf_wrong", 401), (BOB, 403), ("", 401), ("a b", 401)])
def test_each_reason_not_to_let_somebody_in_has_its_status(allowlist_studio: Studio, token: str, status: int) -> None:
    with make_client(allowlist_studio) as web:
        answer = web.post("/login/token", data={"token": token})
    assert answer.status_code == status and "set-cookie" not in answer.headers


def test_a_token_is_not_called_wrong_while_nobody_can_tell(allowlist_studio: Studio, frail_hub: StandInHub) -> None:
    frail_hub.add_fault("whoami", times=None, status=503)
    with make_client(allowlist_studio) as web:
        answer = web.post("/login/token", data={"token": "hf_not_seen_before"})
    frail_hub.clear_faults()
    assert answer.status_code == 503 and "cannot be reached" in answer.text


def get_callback_url(web: httpx2.Client, name: str = "alice") -> str:
    """Returns the address to which the provider redirects the browser."""
    authorization_redirect = web.get("/login/provider")
    page = httpx2.get(authorization_redirect.headers["location"])
    (link,) = re.findall(rf'<a href="([^"]+)">{name}</a>', page.text)
    address: str = httpx2.get(str(page.url.join(unescape(link)))).headers["location"]
    return address


def test_a_way_back_is_good_once(guarded: Studio) -> None:
    with make_client(guarded) as web:
        address = get_callback_url(web)
        before = dict(web.cookies)
        assert web.get(address).status_code == 303
        web.cookies.clear()
        again = web.get(address, headers={"Cookie": "; ".join(f"{name}={value}" for name, value in before.items())})
    assert again.status_code == 400 and COOKIE not in again.headers.get("set-cookie", "")


def test_a_way_back_is_good_for_the_browser_that_left(guarded: Studio) -> None:
    with make_client(guarded) as web, make_client(guarded) as victim:
        address = get_callback_url(web)
        for answer in (victim.get(address), victim.get(re.sub("state=[^&]+", "state=forged", address))):
            assert answer.status_code == 400
            assert COOKIE not in answer.headers.get("set-cookie", "")


@pytest.mark.parametrize("query", ["", "?code=x", "?state=x", "?code=x&state=y", "?error=<script>alert(1)</script>"])
def test_a_way_back_that_was_made_up_leads_nowhere(guarded: Studio, query: str) -> None:
    with make_client(guarded) as web:
        web.get("/login/provider")
        answer = web.get(f"/login/callback{query}")
    assert answer.status_code == 400 and "<script>alert" not in answer.text
    assert COOKIE not in answer.headers.get("set-cookie", "")


def test_a_new_sign_in_ends_the_session_before(guarded: Studio) -> None:
    with make_client(guarded) as web:
        sessions = []
        for token in (ALICE, BOB):
            web.post("/login/token", data={"token": token})
            sessions.append(web.cookies[COOKIE])
    assert [reads(guarded, session) for session in sessions] == [401, 200]


@pytest.mark.parametrize("ticket", ["", "x", "x" * 200])
def test_a_ticket_that_was_made_up_is_none(guarded: Studio, ticket: str) -> None:
    with make_client(guarded) as web:
        answer = web.post("/login/ticket", data={"ticket": ticket})
    assert answer.status_code in (400, 403) and "set-cookie" not in answer.headers


def test_a_ticket_is_good_once(guarded: Studio) -> None:
    with make_client(guarded) as web, make_client(guarded) as inside, make_client(guarded) as late:
        authorization_redirect = web.get("/login/provider?window")
        page = httpx2.get(authorization_redirect.headers["location"])
        (link,) = re.findall(r'<a href="([^"]+)">alice</a>', page.text)
        finish = web.get(httpx2.get(str(page.url.join(unescape(link)))).headers["location"])
        (ticket,) = re.findall(r'ticket: "([\w-]+)"', finish.text)
        assert inside.post("/login/ticket", data={"ticket": ticket}).status_code == 204
        assert inside.get("/gradio_api/user").json() == "alice"
        assert late.post("/login/ticket", data={"ticket": ticket}).status_code == 403


def test_a_key_opens_the_page(keys_studio: Studio, keys: KeyStore, visitor: Page) -> None:
    key = keys.add("carol")
    visitor.goto(keys_studio.url)
    assert visitor.locator("#provider").count() == 0
    visitor.get_by_label("with a key of this studio").fill(key)
    visitor.get_by_role("button", name="Sign in").click()
    expect(visitor).to_have_url(f"{keys_studio.url}/")
    wait_until_usable(visitor)


def test_a_removed_key_and_its_sessions_are_good_no_more(keys_studio: Studio, keys: KeyStore) -> None:
    key = keys.add("dave")
    with make_client(keys_studio, key) as web, make_client(keys_studio) as browser:
        browser.post("/login/token", data={"token": key})
        assert web.get("/v1/models/list").status_code == browser.get("/v1/models/list").status_code == 200
        keys.remove("dave")
        assert web.get("/v1/models/list").status_code == browser.get("/v1/models/list").status_code == 401


@pytest.mark.parametrize("administrator", [True, False])
def test_an_administrators_key_is_one(keys_studio: Studio, keys: KeyStore, administrator: bool) -> None:
    with make_client(keys_studio, keys.add("erin", administrator)) as web:
        answer = web.post("/v1/models/unload", json={"model": "some/where", "delete": True})
    assert (answer.status_code == 403) is not administrator


def test_the_log_tells_no_key_and_no_stack(keys_studio: Studio, keys: KeyStore) -> None:
    key = keys.add("frank")
    with make_client(keys_studio, key) as web:
        web.get("/v1/models/list")
    log = Path(keys_studio.log).read_text(encoding="utf-8")
    assert key not in log and "Traceback" not in log
