"""Who asks, and what they may do: tokens, keys, sessions, and who is let in."""

from __future__ import annotations

import asyncio
import hashlib
import json
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagegen.access.identity import Identity, Policy
from imagegen.access.keys import Keys
from imagegen.access.keys import main as keys_program
from imagegen.access.remembered import MOST, Remembered
from imagegen.access.sessions import Sessions, session_secret
from imagegen.errors import BadCredentials, NotAdmitted, SignInUnavailable, TooManyRequests
from imagegen.limits import Minute
from imagegen.schema import User
from imagegen.settings import Settings
from tests.unit.register import Clock, Register

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


async def name_of(remembered: Remembered, token: str = "good") -> str:
    return (await remembered.identify(token)).name


async def test_a_good_token_is_asked_about_once_a_minute(
    remembered: Remembered, register: Register, clock: Clock
) -> None:
    for seconds, asked in ((0, 1), (59.9, 1), (0.2, 2)):
        clock.now += seconds
        assert await name_of(remembered) == "ann"
        assert len(register.asked) == asked


async def test_a_token_that_was_revoked_is_refused_after_a_minute(
    remembered: Remembered, register: Register, clock: Clock
) -> None:
    await name_of(remembered)
    register.known.clear()
    clock.now += 59
    assert await name_of(remembered) == "ann"
    clock.now += 2
    with pytest.raises(BadCredentials):
        await name_of(remembered)


async def test_a_wrong_token_is_asked_about_every_fifteen_seconds(
    remembered: Remembered, register: Register, clock: Clock
) -> None:
    for seconds, asked in ((0, 1), (14.9, 1), (0.2, 2)):
        clock.now += seconds
        with pytest.raises(BadCredentials):
            await name_of(remembered, "bad")
        assert len(register.asked) == asked


async def test_many_who_come_at_once_are_asked_for_once(remembered: Remembered, register: Register) -> None:
    register.open.clear()
    coming = [asyncio.create_task(name_of(remembered)) for _ in range(50)]
    await asyncio.sleep(0)
    register.open.set()
    assert await asyncio.gather(*coming) == ["ann"] * 50
    assert register.asked == ["good"]


async def test_whoever_came_first_may_leave(remembered: Remembered, register: Register) -> None:
    register.open.clear()
    first, second = (asyncio.create_task(name_of(remembered)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    register.open.set()
    assert await second == "ann"


async def test_a_known_token_goes_on_for_ten_minutes_without_its_authority(
    remembered: Remembered, register: Register, clock: Clock
) -> None:
    await name_of(remembered)
    register.away = True
    for _ in range(9):
        clock.now += 61
        assert await name_of(remembered) == "ann"
    clock.now += 61
    with pytest.raises(SignInUnavailable):
        await name_of(remembered)


async def test_an_authority_that_is_away_is_not_asked_at_each_request(
    remembered: Remembered, register: Register, clock: Clock
) -> None:
    await name_of(remembered)
    register.away = True
    clock.now += 61
    for _ in range(5):
        await name_of(remembered)
    assert len(register.asked) == 2


async def test_an_unknown_token_is_not_called_wrong_without_its_authority(
    remembered: Remembered, register: Register
) -> None:
    register.away = True
    with pytest.raises(SignInUnavailable):
        await name_of(remembered)


async def test_a_token_that_was_wrong_is_not_trusted_without_its_authority(
    remembered: Remembered, register: Register, clock: Clock
) -> None:
    with pytest.raises(BadCredentials):
        await name_of(remembered, "bad")
    register.away = True
    clock.now += 16
    with pytest.raises(SignInUnavailable):
        await name_of(remembered, "bad")


async def test_what_is_remembered_has_an_end(remembered: Remembered, register: Register) -> None:
    register.known = {f"token{number}": Identity("ann") for number in range(MOST + 1)}
    for token in register.known:
        await name_of(remembered, token)
    assert len(remembered._answers) == MOST
    await name_of(remembered, "token1")
    assert len(register.asked) == MOST + 1
    await name_of(remembered, "token0")
    assert len(register.asked) == MOST + 2


async def test_tokens_are_not_kept(remembered: Remembered) -> None:
    await name_of(remembered)
    assert "good" not in repr(vars(remembered))


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX: y", "ä", "\ud800", "a" * 4097, "a\0", "=a", "a\n"])
async def test_what_cannot_be_a_token_is_asked_about_nowhere(
    remembered: Remembered, register: Register, token: str
) -> None:
    assert not remembered.is_guess(token)
    with pytest.raises(BadCredentials):
        await name_of(remembered, token)
    assert register.asked == []


async def test_only_what_nobody_knows_is_a_guess(remembered: Remembered, register: Register, clock: Clock) -> None:
    assert remembered.is_guess("good") and remembered.is_guess("bad")
    await name_of(remembered)
    with pytest.raises(BadCredentials):
        await name_of(remembered, "bad")
    assert not remembered.is_guess("good") and not remembered.is_guess("bad")
    clock.now += 61
    assert not remembered.is_guess("good") and remembered.is_guess("bad")


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "new" / "keys.json")


async def test_a_key_is_its_users(keys: Keys) -> None:
    ann, bob = keys.add("ann"), keys.add("bob", is_administrator=True)
    assert await keys.identify(ann) == Identity("ann")
    assert await keys.identify(bob) == Identity("bob", is_administrator=True)


async def test_the_file_of_keys_holds_no_key_and_is_for_one_reader(keys: Keys) -> None:
    key = keys.add("ann")
    assert key not in keys.file.read_text(encoding="utf-8")
    assert json.loads(keys.file.read_text())[0]["sha256"] == hashlib.sha256(key.encode()).hexdigest()
    assert stat.S_IMODE(keys.file.stat().st_mode) == 0o600


async def test_a_removed_key_is_valid_no_more(keys: Keys) -> None:
    key, other = keys.add("ann"), keys.add("bob")
    assert keys.remove("ann") and not keys.remove("ann")
    with pytest.raises(BadCredentials):
        await keys.identify(key)
    assert (await keys.identify(other)).name == "bob"


async def test_a_new_key_takes_the_place_of_the_old_one(keys: Keys) -> None:
    old, new = keys.add("ann"), keys.add("ann")
    assert (await keys.identify(new)).name == "ann"
    with pytest.raises(BadCredentials):
        await keys.identify(old)


async def test_what_tells_a_key_is_no_key(keys: Keys) -> None:
    keys.add("ann")
    with pytest.raises(BadCredentials):
        await keys.identify(keys.all()[0].sha256)


async def test_no_key_is_known_before_one_was_made(keys: Keys) -> None:
    with pytest.raises(BadCredentials):
        await keys.identify("studio_x")


async def test_keys_are_looked_up_anew_each_time(keys: Keys) -> None:
    remembered, key = Remembered(keys, SECRET), keys.add("ann")
    assert await name_of(remembered, key) == "ann"
    keys.remove("ann")
    with pytest.raises(BadCredentials):
        await name_of(remembered, key)


def test_the_program_for_keys_adds_lists_and_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ran(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["keys", *words, "--file", str(tmp_path / "keys.json")])
        keys_program()
        return capsys.readouterr().out

    assert ran("add", "ann", "--administrator").startswith("studio_")
    assert ran("list") == "ann (administrator)\n"
    assert ran("remove", "ann") == "The key of ann is not valid any more.\n"
    assert ran("list").strip() == ""


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    sessions = Sessions(tmp_path / "sessions.sqlite", SECRET)
    yield sessions
    sessions.close()


def test_a_session_is_whoevers_it_was(sessions: Sessions) -> None:
    ann = Identity("ann", frozenset({"painters", "poets"}), is_administrator=True)
    assert sessions.identity(sessions.begin(ann)) == ann


def test_a_session_ends_by_itself(sessions: Sessions) -> None:
    session = sessions.begin(Identity("ann"), seconds=0.05)
    assert sessions.identity(session) is not None
    time.sleep(0.06)
    assert sessions.identity(session) is None


def test_a_session_that_was_ended_is_over_and_others_are_not(sessions: Sessions) -> None:
    first, second = (sessions.begin(Identity("ann")) for _ in range(2))
    sessions.end(first)
    assert sessions.identity(first) is None and sessions.identity(second) is not None


@pytest.mark.parametrize("made_up", ["", "x", "' OR 1=1 --", "\x00"])
def test_a_session_that_was_made_up_is_nobodys(sessions: Sessions, made_up: str) -> None:
    sessions.begin(Identity("ann"))
    assert sessions.identity(made_up) is None


def test_the_file_of_sessions_is_good_for_no_cookie(sessions: Sessions, tmp_path: Path) -> None:
    session = sessions.begin(Identity("ann"))
    (kept,) = sessions.database.execute("SELECT id FROM sessions").fetchone()
    assert all(session.encode() not in file.read_bytes() for file in tmp_path.iterdir())
    assert sessions.identity(kept.hex()) is None


def test_sessions_of_another_secret_are_nobodys(tmp_path: Path, sessions: Sessions) -> None:
    session = sessions.begin(Identity("ann"))
    others = Sessions(tmp_path / "sessions.sqlite", b"another")
    assert others.identity(session) is None
    others.close()


def test_the_secret_is_made_once_and_is_for_one_reader(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    secret = session_secret(settings)
    assert len(secret) == 32 and session_secret(settings) == secret
    assert stat.S_IMODE((tmp_path / "data" / "session_secret").stat().st_mode) == 0o600


POLICY = Policy(frozenset({"ann"}), frozenset({"painters"}), frozenset({"boss"}))


@pytest.mark.parametrize(
    ("identity", "is_administrator"),
    [
        (Identity("ann"), False),
        (Identity("bob", frozenset({"painters", "poets"})), False),
        (Identity("boss"), True),
        (Identity("key", is_administrator=True), True),
    ],
)
def test_whoever_is_named_is_let_in(identity: Identity, is_administrator: bool) -> None:
    assert POLICY.user(identity) == User(id=identity.name, name=identity.name, is_administrator=is_administrator)


@pytest.mark.parametrize("identity", [Identity("bob"), Identity("bob", frozenset({"poets"})), Identity("painters")])
def test_whoever_is_not_named_is_not(identity: Identity) -> None:
    with pytest.raises(NotAdmitted):
        POLICY.user(identity)


def test_where_nobody_is_named_everybody_is_let_in_and_nobody_is_an_administrator() -> None:
    assert Policy.of(Settings()).user(Identity("bob")).is_administrator is False


def test_a_minute_has_room_for_so_many_and_says_when_there_is_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    minute = Minute(6)
    for _ in range(6):
        minute.count("ann")
    with pytest.raises(TooManyRequests) as refused:
        minute.count("ann")
    assert refused.value.retry_after == 10
    minute.count("bob")
    clock.now += refused.value.retry_after
    minute.count("ann")
    with pytest.raises(TooManyRequests):
        minute.count("ann")
