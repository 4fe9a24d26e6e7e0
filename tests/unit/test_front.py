"""What is checked of every request before anybody asks who sent it, and whose things are afterwards."""

from __future__ import annotations

import pytest

from imagegen.api.claims import Claims, named_files
from imagegen.api.front import MAX_BODY, Front
from imagegen.errors import CrossSite, NotFound, TooLarge, WrongHost
from imagegen.schema import User
from imagegen.settings import Settings
from tests.unit.register import asked

ANN, BOB = User(id="ann"), User(id="bob")
FRONT = Front(
    Settings(public_url="https://studio.example/here/", hosts=("other.example",), origins=("https://friend",))
)


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:7860", "127.0.0.1:1", "10.1.2.3", "[::1]:7860", "studio", "studio.localhost:80",
     "studio.example", "STUDIO.example:443", "other.example", ""],
)  # fmt: skip
def test_names_of_the_studio_are_known(host: str) -> None:
    assert FRONT.knows(host)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "studio.example.evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "a@localhost",
     "evil.example@localhost", "localhost/evil.example", "localhost?.evil.example", "localhost#", "[", "localhost.",
     "127.0.0.1:evil.example@x.y"],
)  # fmt: skip
def test_other_names_are_not(host: str) -> None:
    assert not FRONT.knows(host)


def test_a_request_under_another_name_is_refused() -> None:
    with pytest.raises(WrongHost):
        FRONT.checked(asked(host="evil.example"))


@pytest.mark.parametrize(("length", "refused"), [(str(MAX_BODY), False), (str(MAX_BODY + 1), True), ("²", False)])
def test_a_body_that_is_announced_as_too_large_is_refused(length: str, refused: bool) -> None:
    scope = asked(content_length=length)
    if refused:
        with pytest.raises(TooLarge):
            FRONT.checked(scope)
    else:
        FRONT.checked(scope)


def test_what_a_client_claims_about_the_way_is_not_heard() -> None:
    claims = {"x_forwarded_host": "evil", "x_forwarded_proto": "http", "x_gradio_server": "evil", "x_direct_url": "e"}
    checked = FRONT.checked(asked(**claims))
    assert [name for name, _ in checked["headers"]] == [b"host"]
    assert checked["scheme"] == "https"


@pytest.mark.parametrize(
    ("path", "known_as"),
    [("/config", "/config"), ("/here/config", "/config"), ("/here/here/config", "/config"), ("/here", "/"),
     ("/hereafter", "/hereafter"), ("/", "/")],
)  # fmt: skip
def test_a_path_is_the_same_with_its_prefix_and_without(path: str, known_as: str) -> None:
    assert FRONT.checked(asked(path))["path"] == known_as


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": "https://studio.example:7860"}, {"origin": "https://friend"}, {"sec_fetch_site": "same-origin"}],
)
def test_the_studios_own_pages_and_its_friends_may_ask(headers: dict[str, str]) -> None:
    FRONT.check_origin(asked(**headers))


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://evil.example"}, {"origin": "null"}, {"origin": ""}, {"origin": "https://studio.example"},
     {"origin": "https://friend.evil.example"}, {"origin": "http://friend"}, {"origin": "http://["},
     {"sec_fetch_site": "cross-site"}],
)  # fmt: skip
def test_pages_of_others_may_not(headers: dict[str, str]) -> None:
    with pytest.raises(CrossSite):
        FRONT.check_origin(asked(**headers))


def test_what_somebody_named_first_is_his() -> None:
    claims = Claims()
    claims.claim("session", ANN)
    claims.claim("session", ANN)
    with pytest.raises(NotFound):
        claims.claim("session", BOB)
    with pytest.raises(NotFound):
        claims.check("session", BOB)


def test_what_nobody_named_is_nobodys() -> None:
    with pytest.raises(NotFound):
        Claims().check("session", ANN)


def test_what_is_shared_belongs_to_both() -> None:
    claims = Claims()
    claims.share("file", ANN)
    claims.share("file", BOB)
    claims.check("file", ANN)
    claims.check("file", BOB)


def test_what_was_not_named_for_long_is_forgotten_first() -> None:
    claims = Claims(most=2)
    for thing in ("first", "second", "first", "third"):
        claims.claim(thing, ANN)
    claims.check("first", ANN)
    with pytest.raises(NotFound):
        claims.check("second", ANN)


def test_files_are_found_however_deep() -> None:
    deep: object = {"path": "deepest"}
    for _ in range(5000):
        deep = [deep]
    body = {"data": [{"path": "a", "more": {"path": "b"}}, deep, {"path": 7}, "path"], "event_data": {"path": "c"}}
    assert sorted(named_files(body)) == ["a", "b", "c", "deepest"]
