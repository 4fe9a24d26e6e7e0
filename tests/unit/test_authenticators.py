"""The user of a request, by its headers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.requests import HTTPConnection

from imagegen.access.cached_authority import CachedAuthority
from imagegen.access.identity import AccessPolicy, Identity
from imagegen.access.keys import KeyStore
from imagegen.access.sessions import SessionStore
from imagegen.api.door import DEFAULT_CREDENTIALS, Credential
from imagegen.api.middleware.authenticators import (
    MAX_FAILED_TOKENS_PER_MINUTE,
    SESSION_COOKIE,
    CredentialAuthenticator,
    OpenAuthenticator,
)
from imagegen.api.middleware.credentials import has_explicit_token, read_token
from imagegen.errors import BadCredentials, TooManyRequests
from imagegen.settings import Settings
from tests.unit.clock import Clock
from tests.unit.fake_authority import FakeTokenAuthority, make_scope

SECRET = b"s" * 32
WITH_PASSWORD: frozenset[Credential] = DEFAULT_CREDENTIALS | {"basic"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def fake_authority() -> FakeTokenAuthority:
    return FakeTokenAuthority()


@pytest.fixture
def remembered(fake_authority: FakeTokenAuthority, clock: Clock) -> CachedAuthority:
    return CachedAuthority(fake_authority, SECRET, clock)


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[SessionStore]:
    sessions = SessionStore(tmp_path / "sessions.sqlite", SECRET)
    yield sessions
    sessions.close()


def make_basic_header(text: str) -> str:
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
        ({"authorization": make_basic_header("ann:hf_a")}, None),
        ({}, None),
    ],
)
def test_a_token_comes_in_a_header(headers: dict[str, str], token: str | None) -> None:
    assert read_token(HTTPConnection(make_scope(**headers)), DEFAULT_CREDENTIALS) == token


@pytest.mark.parametrize(
    ("credentials", "token"), [("ann:hf_a", "hf_a"), ("hf_a:", "hf_a"), ("hf_a", "hf_a"), (":a:b", "a:b")]
)
def test_a_token_comes_as_a_password_where_programs_know_nothing_else(credentials: str, token: str) -> None:
    connection = HTTPConnection(make_scope("/sdapi/v1/txt2img", authorization=make_basic_header(credentials)))
    assert read_token(connection, WITH_PASSWORD) == token and not has_explicit_token(connection, WITH_PASSWORD)


@pytest.mark.parametrize("header", ["Basic ???", f"Basic {base64.b64encode(b'ann:' + bytes([255])).decode()}"])
def test_a_damaged_password_is_a_wrong_one(header: str) -> None:
    with pytest.raises(BadCredentials):
        read_token(HTTPConnection(make_scope("/sdapi/v1/txt2img", authorization=header)), WITH_PASSWORD)


@pytest.fixture
def signed_in(remembered: CachedAuthority, sessions: SessionStore) -> CredentialAuthenticator:
    return CredentialAuthenticator(remembered, sessions, AccessPolicy.from_settings(Settings()))


async def test_a_token_comes_before_a_cookie(signed_in: CredentialAuthenticator) -> None:
    cookie = f"{SESSION_COOKIE}={await signed_in.sessions.create(Identity('bob'))}"
    for headers, name in (({"authorization": "Bearer good"}, "ann"), ({}, "bob")):
        user = await signed_in.authenticate(HTTPConnection(make_scope(cookie=cookie, **headers)), DEFAULT_CREDENTIALS)
        assert user is not None and user.name == name


async def test_a_wrong_token_beside_a_good_cookie_is_refused(signed_in: CredentialAuthenticator) -> None:
    cookie = f"{SESSION_COOKIE}={await signed_in.sessions.create(Identity('bob'))}"
    with pytest.raises(BadCredentials):
        await signed_in.authenticate(
            HTTPConnection(make_scope(cookie=cookie, authorization="Bearer bad")), DEFAULT_CREDENTIALS
        )


async def test_a_user_who_lost_access_loses_the_session(remembered: CachedAuthority, sessions: SessionStore) -> None:
    cookie = f"{SESSION_COOKIE}={await sessions.create(Identity('bob'))}"
    policy = AccessPolicy(frozenset({"ann"}), frozenset(), frozenset())
    assert (
        await CredentialAuthenticator(remembered, sessions, policy).authenticate(
            HTTPConnection(make_scope(cookie=cookie)), DEFAULT_CREDENTIALS
        )
        is None
    )


async def test_a_session_ends_with_its_key(tmp_path: Path, sessions: SessionStore) -> None:
    keys = KeyStore(tmp_path / "keys.json")
    callers = CredentialAuthenticator(CachedAuthority(keys, SECRET), sessions, AccessPolicy.from_settings(Settings()))

    async def is_signed_in(session: str) -> bool:
        connection = HTTPConnection(make_scope(cookie=f"{SESSION_COOKIE}={session}"))
        return await callers.authenticate(connection, DEFAULT_CREDENTIALS) is not None

    first = await sessions.create(await keys.identify(keys.add("ann")))
    assert await is_signed_in(first)
    second = await sessions.create(await keys.identify(keys.add("ann")))
    assert not await is_signed_in(first)
    assert await is_signed_in(second)
    keys.remove("ann")
    assert not await is_signed_in(second)


async def test_wrong_keys_lock_out_nobody_at_the_same_address(tmp_path: Path, sessions: SessionStore) -> None:
    keys = KeyStore(tmp_path / "keys.json")
    callers = CredentialAuthenticator(CachedAuthority(keys, SECRET), sessions, AccessPolicy.from_settings(Settings()))
    for number in range(MAX_FAILED_TOKENS_PER_MINUTE + 1):
        with pytest.raises(BadCredentials):
            await callers.authenticate_token(f"guess{number}", "10.0.0.1")
    assert (await callers.authenticate_token(keys.add("ann"), "10.0.0.1")).name == "ann"


async def test_token_guesses_per_address_and_minute_are_limited(
    signed_in: CredentialAuthenticator, fake_authority: FakeTokenAuthority
) -> None:
    for number in range(MAX_FAILED_TOKENS_PER_MINUTE):
        with pytest.raises(BadCredentials):
            await signed_in.authenticate_token(f"guess{number}", "10.0.0.1")
    with pytest.raises(TooManyRequests):
        await signed_in.authenticate_token("one-more", "10.0.0.1")
    assert len(fake_authority.checked_tokens) == MAX_FAILED_TOKENS_PER_MINUTE
    with pytest.raises(BadCredentials):
        await signed_in.authenticate_token("one-more", "10.0.0.2")


async def test_many_known_users_can_share_one_address(
    signed_in: CredentialAuthenticator, fake_authority: FakeTokenAuthority, clock: Clock
) -> None:
    fake_authority.known = {f"token{number}": Identity("ann") for number in range(MAX_FAILED_TOKENS_PER_MINUTE)}
    for _ in range(3):
        for token in fake_authority.known:
            await signed_in.authenticate_token(token, "10.0.0.1")
        clock.seconds += 61


async def test_concurrent_requests_with_one_token_are_one_guess(signed_in: CredentialAuthenticator) -> None:
    users = await asyncio.gather(*[signed_in.authenticate_token("good", "10.0.0.1") for _ in range(50)])
    assert {user.name for user in users} == {"ann"}


@pytest.mark.parametrize(
    ("client", "name"), [("127.0.0.1", "at:here"), ("::1", "at:here"), ("10.0.0.7", "at:10.0.0.7")]
)
async def test_without_sign_in_each_address_is_a_user(client: str, name: str) -> None:
    user = await OpenAuthenticator().authenticate(HTTPConnection(make_scope(client=client)), DEFAULT_CREDENTIALS)
    assert user is not None and user.id == name
