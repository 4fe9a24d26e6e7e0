"""Signing in as people do it: in a real browser, at a provider that stands in for the Hub's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from imagegen.access.keys import Keys
from tests.acceptance.conftest import ALICE, BOB, SIDE, Studio, program, running_studio
from tests.acceptance.test_page import PATIENCE, desk, generate
from tests.hub.server import StandInHub

COOKIE = "studio_session"


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Page]:
    """Somebody with a browser of his own, who was here never before."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture
def other(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def sign_in(page: Page, studio: Studio, name: str) -> None:
    """From the page of the studio to the provider's, and back."""
    page.goto(studio.url)
    page.locator("#provider").click()
    page.get_by_role("link", name=name).click()


def session_of(page: Page) -> str:
    (cookie,) = [cookie for cookie in page.context.cookies() if cookie["name"] == COOKIE]
    return cookie["value"]


def reads(studio: Studio, session: str) -> int:
    with program(studio, Cookie=f"{COOKIE}={session}") as web:
        return web.get("/v1/models/list").status_code


def test_a_provider_that_is_down_costs_a_page_and_no_more(asking: Studio, frail_hub: StandInHub, visitor: Page) -> None:
    for route in ("/.well-known/openid-configuration", "/oauth/token"):
        frail_hub.fault(route, times=None, status=500)
        visitor.goto(f"{asking.url}/login")
        with visitor.expect_navigation(url=re.compile(rf"{asking.url}/login/.*")) as last:
            visitor.locator("#provider").click()
            if route == "/oauth/token":
                visitor.get_by_role("link", name="alice").click()
        assert last.value is not None and last.value.status == 503
        expect(visitor.get_by_role("alert")).to_contain_text("cannot be found out just now")
        assert "Traceback" not in visitor.content() and COOKIE not in str(visitor.context.cookies())
        frail_hub.heal()
    sign_in(visitor, asking, "alice")
    expect(visitor).to_have_url(f"{asking.url}/")


def test_whoever_signs_in_paints_and_sees_the_picture(guarded: Studio, visitor: Page) -> None:
    sign_in(visitor, guarded, "alice")
    expect(visitor).to_have_url(f"{guarded.url}/")
    generate(visitor)
    picture = desk(visitor).locator(".stage.finished img")
    expect(picture).to_have_js_property("naturalWidth", SIDE)


def test_nobody_else_sees_the_picture(guarded: Studio, visitor: Page, other: Page) -> None:
    sign_in(visitor, guarded, "alice")
    generate(visitor)
    source = desk(visitor).locator(".stage.finished img").get_attribute("src")
    address = visitor.evaluate("source => new URL(source, document.baseURI).href", source)
    assert visitor.request.get(address).status == 200
    assert other.request.get(address).status == 401
    sign_in(other, guarded, "bob")
    expect(desk(other).get_by_role("button", name="Generate")).to_be_visible(timeout=PATIENCE)
    assert other.request.get(address).status == 404


def test_the_page_leads_to_signing_in(guarded: Studio, visitor: Page) -> None:
    visitor.goto(guarded.url)
    expect(visitor).to_have_url(f"{guarded.url}/login")
    expect(visitor.get_by_role("heading", name="Image Studio")).to_be_visible()


def test_whoever_signs_out_leaves_no_session_behind(guarded: Studio, visitor: Page) -> None:
    sign_in(visitor, guarded, "alice")
    session = session_of(visitor)
    assert reads(guarded, session) == 200
    visitor.get_by_role("button", name="Sign out").click(timeout=PATIENCE)
    expect(visitor).to_have_url(f"{guarded.url}/login")
    assert reads(guarded, session) == 401
    assert COOKIE not in str(visitor.context.cookies())


def test_whoever_does_not_want_to_say_who_he_is_is_not_let_in(guarded: Studio, visitor: Page) -> None:
    sign_in(visitor, guarded, "Deny")
    expect(visitor.get_by_role("alert")).to_have_text("You did not let the studio know who you are.")
    assert COOKIE not in str(visitor.context.cookies())


def test_whoever_is_not_admitted_is_told_so(asking: Studio, visitor: Page) -> None:
    visitor.goto(asking.url)
    visitor.locator("#provider").click()
    with visitor.expect_navigation(url=re.compile(".*/login/callback.*")) as last:
        visitor.get_by_role("link", name="bob").click()
    assert last.value is not None and last.value.status == 403
    expect(visitor.get_by_role("alert")).to_have_text("bob is not among those who may use this studio.")
    assert COOKIE not in str(visitor.context.cookies())


def test_a_token_can_be_typed_and_a_wrong_one_is_told(guarded: Studio, visitor: Page) -> None:
    visitor.goto(guarded.url)
    for token in ("hf_wrong", f" {ALICE} "):
        visitor.get_by_label("with a Hugging Face token").fill(token)
        visitor.get_by_role("button", name="Sign in").click()
        if token == "hf_wrong":
            expect(visitor.get_by_role("alert")).to_contain_text("This is not valid")
    expect(visitor).to_have_url(f"{guarded.url}/")
    assert ALICE not in session_of(visitor)


def test_scripts_do_not_see_the_cookie_which_says_nothing(guarded: Studio, visitor: Page) -> None:
    sign_in(visitor, guarded, "alice")
    (cookie,) = [cookie for cookie in visitor.context.cookies() if cookie["name"] == COOKIE]
    assert cookie["httpOnly"] and cookie["sameSite"] == "Lax" and cookie["path"] == "/"
    assert re.fullmatch(r"[\w-]{43}", cookie["value"])
    assert COOKIE not in visitor.evaluate("document.cookie")


@pytest.mark.parametrize(("token", "status"), [("hf_wrong", 401), (BOB, 403), ("", 401), ("a b", 401)])
def test_each_reason_not_to_let_somebody_in_has_its_status(asking: Studio, token: str, status: int) -> None:
    with program(asking) as web:
        answer = web.post("/login/token", data={"token": token})
    assert answer.status_code == status and "set-cookie" not in answer.headers


def test_a_token_is_not_called_wrong_while_nobody_can_tell(asking: Studio, frail_hub: StandInHub) -> None:
    frail_hub.fault("whoami", times=None, status=503)
    with program(asking) as web:
        answer = web.post("/login/token", data={"token": "hf_not_seen_before"})
    frail_hub.heal()
    assert answer.status_code == 503 and "cannot be found out just now" in answer.text


def way_back(web: httpx2.Client, name: str = "alice") -> str:
    """The address that the provider sends the browser to."""
    asked = web.get("/login/provider")
    page = httpx2.get(asked.headers["location"])
    (link,) = re.findall(rf'<a href="([^"]+)">{name}</a>', page.text)
    address: str = httpx2.get(str(page.url.join(unescape(link)))).headers["location"]
    return address


def test_a_way_back_is_good_once(guarded: Studio) -> None:
    with program(guarded) as web:
        address = way_back(web)
        before = dict(web.cookies)
        assert web.get(address).status_code == 303
        web.cookies.clear()
        again = web.get(address, headers={"Cookie": "; ".join(f"{name}={value}" for name, value in before.items())})
    assert again.status_code == 400 and COOKIE not in again.headers.get("set-cookie", "")


def test_a_way_back_is_good_for_the_browser_that_left(guarded: Studio) -> None:
    with program(guarded) as web, program(guarded) as victim:
        address = way_back(web)
        for answer in (victim.get(address), victim.get(re.sub("state=[^&]+", "state=forged", address))):
            assert answer.status_code == 400
            assert COOKIE not in answer.headers.get("set-cookie", "")


@pytest.mark.parametrize("query", ["", "?code=x", "?state=x", "?code=x&state=y", "?error=<script>alert(1)</script>"])
def test_a_way_back_that_was_made_up_leads_nowhere(guarded: Studio, query: str) -> None:
    with program(guarded) as web:
        web.get("/login/provider")
        answer = web.get(f"/login/callback{query}")
    assert answer.status_code == 400 and "<script>alert" not in answer.text
    assert COOKIE not in answer.headers.get("set-cookie", "")


def test_a_new_sign_in_ends_the_session_before(guarded: Studio) -> None:
    with program(guarded) as web:
        sessions = []
        for token in (ALICE, BOB):
            web.post("/login/token", data={"token": token})
            sessions.append(web.cookies[COOKIE])
    assert [reads(guarded, session) for session in sessions] == [401, 200]


@pytest.mark.parametrize("ticket", ["", "x", "x" * 200])
def test_a_ticket_that_was_made_up_is_none(guarded: Studio, ticket: str) -> None:
    with program(guarded) as web:
        answer = web.post("/login/ticket", data={"ticket": ticket})
    assert answer.status_code in (400, 403) and "set-cookie" not in answer.headers


def test_a_ticket_is_good_once(guarded: Studio) -> None:
    with program(guarded) as web, program(guarded) as inside, program(guarded) as late:
        asked = web.get("/login/provider?window")
        page = httpx2.get(asked.headers["location"])
        (link,) = re.findall(r'<a href="([^"]+)">alice</a>', page.text)
        finish = web.get(httpx2.get(str(page.url.join(unescape(link)))).headers["location"])
        (ticket,) = re.findall(r'ticket: "([\w-]+)"', finish.text)
        assert inside.post("/login/ticket", data={"ticket": ticket}).status_code == 204
        assert inside.get("/gradio_api/user").json() == "alice"
        assert late.post("/login/ticket", data={"ticket": ticket}).status_code == 403


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio with keys of its own, which asks nobody else."""
    with running_studio(tmp_path_factory.mktemp("keyed"), "--access", "keys", until="healthz") as studio:
        yield studio


@pytest.fixture
def keys(keyed: Studio) -> Keys:
    return Keys(keyed.data_dir / "keys.json")


def test_a_key_opens_the_page(keyed: Studio, keys: Keys, visitor: Page) -> None:
    key = keys.add("carol")
    visitor.goto(keyed.url)
    assert visitor.locator("#provider").count() == 0
    visitor.get_by_label("with a key of this studio").fill(key)
    visitor.get_by_role("button", name="Sign in").click()
    expect(visitor).to_have_url(f"{keyed.url}/")
    expect(desk(visitor).get_by_role("button", name="Generate")).to_be_visible(timeout=PATIENCE)


def test_a_removed_key_and_its_sessions_are_good_no_more(keyed: Studio, keys: Keys) -> None:
    key = keys.add("dave")
    with program(keyed, key) as web, program(keyed) as browser:
        browser.post("/login/token", data={"token": key})
        assert web.get("/v1/models/list").status_code == browser.get("/v1/models/list").status_code == 200
        keys.remove("dave")
        assert web.get("/v1/models/list").status_code == browser.get("/v1/models/list").status_code == 401


@pytest.mark.parametrize("administrator", [True, False])
def test_an_administrators_key_is_one(keyed: Studio, keys: Keys, administrator: bool) -> None:
    with program(keyed, keys.add("erin", administrator)) as web:
        answer = web.post("/v1/models/unload", json={"model": "some/where", "delete": True})
    assert (answer.status_code == 403) is not administrator


def test_the_log_tells_no_key_and_no_stack(keyed: Studio, keys: Keys) -> None:
    key = keys.add("frank")
    with program(keyed, key) as web:
        web.get("/v1/models/list")
    log = Path(keyed.log).read_text(encoding="utf-8")
    assert key not in log and "Traceback" not in log
