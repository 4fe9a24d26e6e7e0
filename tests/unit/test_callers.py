"""Who sent a request, by its headers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.requests import HTTPConnection

from imagegen.access.identity import Identity, Policy
from imagegen.access.keys import Keys
from imagegen.access.remembered import Remembered
from imagegen.access.sessions import Sessions
from imagegen.api.callers import COOKIE, GUESSES, Everybody, SignedIn, meant_token, token_in
from imagegen.errors import BadCredentials, TooManyRequests
from imagegen.settings import Settings
from tests.unit.register import Clock, Register, asked

SECRET = b"s" * 32


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def register() -> Register:
    return Register()


@pytest.fixture
def remembered(register: Register, clock: Clock) -> Remembered:
    return Remembered(register, SECRET, clock)


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    sessions = Sessions(tmp_path / "sessions.sqlite", SECRET)
    yield sessions
    sessions.close()


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({"authorization": "Bearer hf_a"}, "hf_a"),
        ({"authorization": "bearer  hf_a "}, "hf_a"),
        ({"x_hf_authorization": "Bearer hf_a"}, "hf_a"),
        ({"authorization": "Bearer hf_a", "x_hf_authorization": "Bearer hf_b"}, "hf_a"),
        ({"authorization": "Bearer "}, None),
        ({"authorization": "Bearer"}, None),
        ({"authorization": "hf_a"}, None),
        ({"authorization": basic("ann:hf_a")}, None),
        ({}, None),
    ],
)
def test_a_token_comes_in_a_header(headers: dict[str, str], token: str | None) -> None:
    assert token_in(HTTPConnection(asked(**headers))) == token


@pytest.mark.parametrize(
    ("said", "token"), [("ann:hf_a", "hf_a"), ("hf_a:", "hf_a"), ("hf_a", "hf_a"), (":a:b", "a:b")]
)
def test_a_token_comes_as_a_password_where_programs_know_nothing_else(said: str, token: str) -> None:
    connection = HTTPConnection(asked("/sdapi/v1/txt2img", authorization=basic(said)))
    assert token_in(connection) == token and not meant_token(connection)


@pytest.mark.parametrize("said", ["Basic ???", f"Basic {base64.b64encode(b'ann:' + bytes([255])).decode()}"])
def test_a_damaged_password_is_a_wrong_one(said: str) -> None:
    with pytest.raises(BadCredentials):
        token_in(HTTPConnection(asked("/sdapi/v1/txt2img", authorization=said)))


@pytest.fixture
def signed_in(remembered: Remembered, sessions: Sessions) -> SignedIn:
    return SignedIn(remembered, sessions, Policy.of(Settings()))


async def test_a_token_comes_before_a_cookie(signed_in: SignedIn) -> None:
    cookie = f"{COOKIE}={signed_in.sessions.begin(Identity('bob'))}"
    for headers, name in (({"authorization": "Bearer good"}, "ann"), ({}, "bob")):
        user = await signed_in.caller(HTTPConnection(asked(cookie=cookie, **headers)))
        assert user is not None and user.name == name


async def test_a_wrong_token_beside_a_good_cookie_is_refused(signed_in: SignedIn) -> None:
    cookie = f"{COOKIE}={signed_in.sessions.begin(Identity('bob'))}"
    with pytest.raises(BadCredentials):
        await signed_in.caller(HTTPConnection(asked(cookie=cookie, authorization="Bearer bad")))


async def test_whoever_is_let_in_no_more_has_no_session_any_more(remembered: Remembered, sessions: Sessions) -> None:
    cookie = f"{COOKIE}={sessions.begin(Identity('bob'))}"
    policy = Policy(frozenset({"ann"}), frozenset(), frozenset())
    assert await SignedIn(remembered, sessions, policy).caller(HTTPConnection(asked(cookie=cookie))) is None


async def test_a_session_ends_with_its_key(tmp_path: Path, sessions: Sessions) -> None:
    keys = Keys(tmp_path / "keys.json")
    keys.add("ann")
    callers = SignedIn(Remembered(keys, SECRET), sessions, Policy.of(Settings()))
    connection = HTTPConnection(asked(cookie=f"{COOKIE}={sessions.begin(Identity('ann'))}"))
    assert await callers.caller(connection) is not None
    keys.remove("ann")
    assert await callers.caller(connection) is None


async def test_an_address_may_guess_so_many_tokens_in_a_minute(signed_in: SignedIn, register: Register) -> None:
    for number in range(GUESSES):
        with pytest.raises(BadCredentials):
            await signed_in.known(f"guess{number}", "10.0.0.1")
    with pytest.raises(TooManyRequests):
        await signed_in.known("one-more", "10.0.0.1")
    assert len(register.asked) == GUESSES
    with pytest.raises(BadCredentials):
        await signed_in.known("one-more", "10.0.0.2")


async def test_many_who_are_known_can_come_from_one_address(
    signed_in: SignedIn, register: Register, clock: Clock
) -> None:
    register.known = {f"token{number}": Identity("ann") for number in range(GUESSES)}
    for _ in range(3):
        for token in register.known:
            await signed_in.known(token, "10.0.0.1")
        clock.now += 61


async def test_one_token_that_comes_often_at_once_is_one_guess(signed_in: SignedIn) -> None:
    users = await asyncio.gather(*[signed_in.known("good", "10.0.0.1") for _ in range(50)])
    assert {user.name for user in users} == {"ann"}


@pytest.mark.parametrize(
    ("client", "name"), [("127.0.0.1", "at:here"), ("::1", "at:here"), ("10.0.0.7", "at:10.0.0.7")]
)
async def test_each_machine_is_one_user_where_nobody_signs_in(client: str, name: str) -> None:
    user = await Everybody().caller(HTTPConnection(asked(client=client)))
    assert user is not None and user.id == name
