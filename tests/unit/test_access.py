"""Authentication and authorization: tokens, keys, sessions, and the access policy."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from imagegen.access.cached_authority import MAX_CACHED_TOKENS, CachedAuthority
from imagegen.access.identity import AccessPolicy, Identity
from imagegen.access.keys import KEPT_SECONDS, KeyStore, hash_key
from imagegen.access.keys import main as keys_program
from imagegen.access.sessions import SessionStore, get_session_secret
from imagegen.errors import (
    BadCredentials,
    Forbidden,
    InvalidKeysFile,
    SignInUnavailable,
    TooManyRequests,
)
from imagegen.rate_limit import RateLimiter
from imagegen.schema.base import User
from imagegen.settings import Settings
from tests.unit.clock import Clock
from tests.unit.fake_authority import FakeTokenAuthority

SECRET = b"s" * 32


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def fake_authority() -> FakeTokenAuthority:
    return FakeTokenAuthority()


@pytest.fixture
def remembered(fake_authority: FakeTokenAuthority, clock: Clock) -> CachedAuthority:
    return CachedAuthority(fake_authority, SECRET, clock)


async def name_of(remembered: CachedAuthority, token: str = "good") -> str:
    return (await remembered.identify(token)).name


async def test_a_valid_token_is_checked_once_a_minute(
    remembered: CachedAuthority, fake_authority: FakeTokenAuthority, clock: Clock
) -> None:
    for seconds, checks in ((0, 1), (59.9, 1), (0.2, 2)):
        clock.seconds += seconds
        assert await name_of(remembered) == "ann"
        assert len(fake_authority.checked_tokens) == checks


async def test_a_token_that_was_revoked_is_refused_after_a_minute(
    remembered: CachedAuthority, fake_authority: FakeTokenAuthority, clock: Clock
) -> None:
    await name_of(remembered)
    fake_authority.known.clear()
    clock.seconds += 59
    assert await name_of(remembered) == "ann"
    clock.seconds += 2
    with pytest.raises(BadCredentials):
        await name_of(remembered)


async def test_a_rejected_token_is_checked_every_fifteen_seconds(
    remembered: CachedAuthority, fake_authority: FakeTokenAuthority, clock: Clock
) -> None:
    for seconds, checks in ((0, 1), (14.9, 1), (0.2, 2)):
        clock.seconds += seconds
        with pytest.raises(BadCredentials):
            await name_of(remembered, "bad")
        assert len(fake_authority.checked_tokens) == checks


async def test_concurrent_calls_share_one_check(
    remembered: CachedAuthority, fake_authority: FakeTokenAuthority
) -> None:
    fake_authority.response_allowed.clear()
    coming = [asyncio.create_task(name_of(remembered)) for _ in range(50)]
    await asyncio.sleep(0)
    fake_authority.response_allowed.set()
    assert await asyncio.gather(*coming) == ["ann"] * 50
    assert fake_authority.checked_tokens == ["good"]


async def test_the_first_of_concurrent_calls_may_be_cancelled(
    remembered: CachedAuthority, fake_authority: FakeTokenAuthority
) -> None:
    fake_authority.response_allowed.clear()
    first, second = (asyncio.create_task(name_of(remembered)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    fake_authority.response_allowed.set()
    assert await second == "ann"


async def test_a_cached_token_is_valid_for_ten_minutes_without_its_authority(
    remembered: CachedAuthority, fake_authority: FakeTokenAuthority, clock: Clock
) -> None:
    await name_of(remembered)
    fake_authority.is_unavailable = True
    for _ in range(9):
        clock.seconds += 61
        assert await name_of(remembered) == "ann"
    clock.seconds += 61
    with pytest.raises(SignInUnavailable):
        await name_of(remembered)


async def test_an_unavailable_authority_is_not_asked_at_each_request(
    remembered: CachedAuthority, fake_authority: FakeTokenAuthority, clock: Clock
) -> None:
    await name_of(remembered)
    fake_authority.is_unavailable = True
    clock.seconds += 61
    for _ in range(5):
        await name_of(remembered)
    assert len(fake_authority.checked_tokens) == 2


async def test_an_unknown_token_is_not_rejected_without_its_authority(
    remembered: CachedAuthority, fake_authority: FakeTokenAuthority
) -> None:
    fake_authority.is_unavailable = True
    with pytest.raises(SignInUnavailable):
        await name_of(remembered)


async def test_a_token_that_was_wrong_is_not_trusted_without_its_authority(
    remembered: CachedAuthority, fake_authority: FakeTokenAuthority, clock: Clock
) -> None:
    with pytest.raises(BadCredentials):
        await name_of(remembered, "bad")
    fake_authority.is_unavailable = True
    clock.seconds += 16
    with pytest.raises(SignInUnavailable):
        await name_of(remembered, "bad")


async def test_the_cache_is_limited(remembered: CachedAuthority, fake_authority: FakeTokenAuthority) -> None:
    fake_authority.known = {f"token{number}": Identity("ann") for number in range(MAX_CACHED_TOKENS + 1)}
    for token in fake_authority.known:
        await name_of(remembered, token)
    assert len(remembered._entries) == MAX_CACHED_TOKENS
    await name_of(remembered, "token1")
    assert len(fake_authority.checked_tokens) == MAX_CACHED_TOKENS + 1
    await name_of(remembered, "token0")
    assert len(fake_authority.checked_tokens) == MAX_CACHED_TOKENS + 2


async def test_tokens_are_not_stored(remembered: CachedAuthority) -> None:
    await name_of(remembered)
    assert "good" not in repr(vars(remembered))


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX: y", "ä", "\ud800", "a" * 4097, "a\0", "=a", "a\n"])
async def test_an_invalid_token_is_not_sent_to_the_authority(
    remembered: CachedAuthority, fake_authority: FakeTokenAuthority, token: str
) -> None:
    assert not remembered.is_unknown_token(token)
    with pytest.raises(BadCredentials):
        await name_of(remembered, token)
    assert fake_authority.checked_tokens == []


async def test_only_an_unknown_token_counts_as_a_guess(
    remembered: CachedAuthority, fake_authority: FakeTokenAuthority, clock: Clock
) -> None:
    assert remembered.is_unknown_token("good") and remembered.is_unknown_token("bad")
    await name_of(remembered)
    with pytest.raises(BadCredentials):
        await name_of(remembered, "bad")
    assert not remembered.is_unknown_token("good") and not remembered.is_unknown_token("bad")
    clock.seconds += 61
    assert not remembered.is_unknown_token("good") and remembered.is_unknown_token("bad")


@pytest.fixture
def keys(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "new" / "keys.json")


async def test_a_key_is_its_users(keys: KeyStore) -> None:
    ann, bob = keys.add("ann"), keys.add("bob", is_administrator=True)
    assert await keys.identify(ann) == Identity("ann", key_digest=hash_key(ann))
    assert await keys.identify(bob) == Identity("bob", is_administrator=True, key_digest=hash_key(bob))


async def test_the_file_of_keys_holds_no_key_and_is_for_one_reader(keys: KeyStore) -> None:
    key = keys.add("ann")
    assert key not in keys.file.read_text(encoding="utf-8")
    assert json.loads(keys.file.read_text())[0]["sha256"] == hashlib.sha256(key.encode()).hexdigest()
    assert stat.S_IMODE(keys.file.stat().st_mode) == 0o600


async def test_a_removed_key_is_valid_no_more(keys: KeyStore) -> None:
    key, other = keys.add("ann"), keys.add("bob")
    assert keys.remove("ann") and not keys.remove("ann")
    with pytest.raises(BadCredentials):
        await keys.identify(key)
    assert (await keys.identify(other)).name == "bob"


async def test_a_new_key_takes_the_place_of_the_old_one(keys: KeyStore) -> None:
    old, new = keys.add("ann"), keys.add("ann")
    assert (await keys.identify(new)).name == "ann"
    with pytest.raises(BadCredentials):
        await keys.identify(old)


async def test_a_digest_is_not_accepted_as_a_key(keys: KeyStore) -> None:
    keys.add("ann")
    with pytest.raises(BadCredentials):
        await keys.identify(keys.list_keys()[0].sha256)


async def test_no_key_is_accepted_without_a_keys_file(keys: KeyStore) -> None:
    with pytest.raises(BadCredentials):
        await keys.identify("studio_x")


async def test_an_expired_key_and_its_sessions_are_valid_no_more(
    keys: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, begin = keys.add("ann", days=2), time.time()
    identity = await keys.identify(key)
    assert keys.is_still_valid(identity)
    monkeypatch.setattr(time, "time", lambda: begin + 2 * 24 * 3600 + 60)
    assert not keys.is_still_valid(identity)
    with pytest.raises(BadCredentials):
        await keys.identify(key)


@pytest.mark.parametrize("content", [None, "", "[{", "[" * 100_000, '{"a": 1}', '[{"name": "x"}]'])
async def test_a_file_that_is_away_for_a_moment_locks_out_nobody(
    tmp_path: Path, clock: Clock, content: str | None
) -> None:
    keys = KeyStore(tmp_path / "keys.json", clock)
    key = keys.add("ann")
    identity = await keys.identify(key)
    good = keys.file.read_text()
    keys.file.unlink()
    if content is not None:
        keys.file.write_text(content)
    assert await keys.identify(key) == identity
    clock.seconds += KEPT_SECONDS - 1
    assert keys.is_still_valid(identity)
    clock.seconds += 2
    with pytest.raises(BadCredentials if content is None else SignInUnavailable):
        await keys.identify(key)
    keys.file.write_text(good)
    assert await keys.identify(key) == identity


async def test_a_file_that_cannot_be_read_is_not_replaced(keys: KeyStore) -> None:
    keys.add("ann")
    keys.file.write_text("[{")
    with pytest.raises(InvalidKeysFile):
        keys.add("bob")
    assert keys.file.read_text() == "[{"


async def test_keys_are_looked_up_anew_each_time(keys: KeyStore) -> None:
    remembered, key = CachedAuthority(keys, SECRET), keys.add("ann")
    assert await name_of(remembered, key) == "ann"
    keys.remove("ann")
    with pytest.raises(BadCredentials):
        await name_of(remembered, key)


@pytest.mark.parametrize("content", ["", "{", "{}", '[{"name": "ann"}]', '[{"name": 1, "sha256": "x"}]'])
def test_a_file_of_keys_that_cannot_be_read_is_named(keys: KeyStore, content: str) -> None:
    keys.file.parent.mkdir()
    keys.file.write_text(content)
    with pytest.raises(InvalidKeysFile, match=f"The keys file {keys.file} is invalid: .+") as refused:
        keys.read_keys()
    assert "\n" not in str(refused.value)


async def test_a_file_of_keys_that_becomes_invalid_is_in_the_log_and_in_no_answer(
    keys: KeyStore, caplog: pytest.LogCaptureFixture
) -> None:
    key = keys.add("ann")
    identity = await keys.identify(key)
    keys.file.write_text("{")
    assert await keys.identify(key) == identity, "the last keys stay valid for a moment"
    assert str(keys.file) in caplog.text


def test_the_program_for_keys_adds_lists_and_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ran(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["keys", *words, "--file", str(tmp_path / "keys.json")])
        keys_program()
        return capsys.readouterr().out

    assert ran("add", "ann", "--administrator").startswith("studio_")
    assert ran("list") == "ann (administrator)\n"
    assert ran("add", "bob", "--days", "30").startswith("studio_")
    assert ran("list").splitlines()[1].startswith("bob (expires 20")
    ran("remove", "bob")
    assert ran("remove", "ann") == "The key of ann was removed.\n"
    assert ran("list").strip() == ""


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[SessionStore]:
    sessions = SessionStore(tmp_path / "sessions.sqlite", SECRET)
    yield sessions
    sessions.close()


async def test_a_session_returns_its_identity(sessions: SessionStore) -> None:
    ann = Identity("ann", frozenset({"painters", "poets"}), is_administrator=True)
    assert await sessions.get_identity(await sessions.create(ann)) == ann


async def test_a_session_ends_by_itself(sessions: SessionStore) -> None:
    lasting, ended = [await sessions.create(Identity("ann"), lifetime_seconds=seconds) for seconds in (600, 0)]
    assert await sessions.get_identity(lasting) is not None
    assert await sessions.get_identity(ended) is None


async def test_a_session_that_was_ended_is_over_and_others_are_not(sessions: SessionStore) -> None:
    first, second = [await sessions.create(Identity("ann")) for _ in range(2)]
    await sessions.delete(first)
    assert await sessions.get_identity(first) is None and await sessions.get_identity(second) is not None


@pytest.mark.parametrize("made_up", ["", "x", "' OR 1=1 --", "\x00"])
async def test_an_invented_session_id_has_no_identity(sessions: SessionStore, made_up: str) -> None:
    await sessions.create(Identity("ann"))
    assert await sessions.get_identity(made_up) is None


async def test_the_file_of_sessions_is_good_for_no_cookie(sessions: SessionStore, tmp_path: Path) -> None:
    session = await sessions.create(Identity("ann"))
    with closing(sqlite3.connect(tmp_path / "sessions.sqlite")) as database:
        (kept,) = database.execute("SELECT id FROM sessions").fetchone()
    content = await asyncio.to_thread(lambda: b"".join(file.read_bytes() for file in tmp_path.iterdir()))
    assert kept in content and session.encode() not in content
    assert await sessions.get_identity(kept.hex()) is None


async def test_a_lock_of_the_sessions_delays_no_other_request(sessions: SessionStore, tmp_path: Path) -> None:
    session = await sessions.create(Identity("ann"))
    with closing(sqlite3.connect(tmp_path / "sessions.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        ending = asyncio.create_task(sessions.delete(session))
        await asyncio.sleep(0)
        assert await sessions.get_identity(session) is not None
        assert not ending.done()
        other.execute("COMMIT")
        await ending
    assert await sessions.get_identity(session) is None


async def test_sessions_of_another_secret_have_no_identity(tmp_path: Path, sessions: SessionStore) -> None:
    session = await sessions.create(Identity("ann"))
    others = SessionStore(tmp_path / "sessions.sqlite", b"another")
    assert await others.get_identity(session) is None
    others.close()


def test_the_secret_is_made_once_and_is_for_one_reader(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    secret = get_session_secret(settings)
    assert len(secret) == 32 and get_session_secret(settings) == secret
    assert stat.S_IMODE((tmp_path / "data" / "session_secret").stat().st_mode) == 0o600


POLICY = AccessPolicy(frozenset({"ann"}), frozenset({"painters"}), frozenset({"boss"}))


@pytest.mark.parametrize(
    ("identity", "is_administrator"),
    [
        (Identity("ann"), False),
        (Identity("bob", frozenset({"painters", "poets"})), False),
        (Identity("boss"), True),
        (Identity("key", is_administrator=True), True),
    ],
)
def test_listed_users_and_organisations_are_authorized(identity: Identity, is_administrator: bool) -> None:
    assert POLICY.authorize(identity) == User(id=identity.name, name=identity.name, is_administrator=is_administrator)


@pytest.mark.parametrize("identity", [Identity("bob"), Identity("bob", frozenset({"poets"})), Identity("painters")])
def test_others_are_refused(identity: Identity) -> None:
    with pytest.raises(Forbidden):
        POLICY.authorize(identity)


def test_without_lists_everyone_is_authorized_and_no_one_is_an_administrator() -> None:
    assert AccessPolicy.from_settings(Settings()).authorize(Identity("bob")).is_administrator is False


def test_requests_per_minute_are_limited_and_the_error_names_the_time_to_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    minute = RateLimiter(6)
    for _ in range(6):
        minute.consume("ann")
    with pytest.raises(TooManyRequests) as refused:
        minute.consume("ann")
    assert refused.value.retry_after == 10
    minute.consume("bob")
    clock.seconds += refused.value.retry_after
    minute.consume("ann")
    with pytest.raises(TooManyRequests):
        minute.consume("ann")
