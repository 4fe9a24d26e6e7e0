"""Checks of every request before authentication, and ownership of sessions."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.types import Scope

from imagegen.api.gradio.door import create_page_door
from imagegen.api.middleware.gradio_ownership import GradioOwnership, find_file_paths
from imagegen.api.middleware.origin_check import OriginCheck
from imagegen.api.middleware.path_prefix import get_path_prefix, strip_prefix
from imagegen.api.middleware.request_body import MAX_BODY_BYTES
from imagegen.api.middleware.request_guard import RequestGuard
from imagegen.errors import CrossSiteRequest, NotFound, PayloadTooLarge, WrongHost
from imagegen.schema.base import User
from imagegen.settings import Settings
from tests.unit.fake_authority import make_scope
from tests.unit.in_process_studio import serve_page

ANN, BOB = User(id="ann"), User(id="bob")
SETTINGS = Settings(public_url="https://studio.example/here/", hosts=("other.example",), origins=("https://friend",))
REQUEST_GUARD = RequestGuard(serve_page, SETTINGS)


def check_origin(headers: dict[str, str], settings: Settings = SETTINGS) -> Scope:
    check = OriginCheck(serve_page, [create_page_door()], settings, trusts_tokens=True)
    return check.check_origin(make_scope(**headers))


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:7860", "127.0.0.1:1", "10.1.2.3", "[::1]:7860", "studio", "studio.localhost:80",
     "studio.example", "STUDIO.example:443", "other.example", "my_studio", "host.docker.internal:7860",
     "host.containers.internal", ""],
)  # fmt: skip
def test_host_names_of_the_studio_are_accepted(host: str) -> None:
    REQUEST_GUARD.check_hosts("Host", [host])


def test_the_name_of_this_machine_or_container_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Paint.Example")
    RequestGuard(serve_page, Settings()).check_hosts("Host", ["paint.example:7860"])


@pytest.mark.parametrize(
    "host",
    ["host.docker.internal.evil.example", "evil.internal", "localhost:99999",
     "evil.example", "studio.example.evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "a@localhost",
     "evil.example@localhost", "localhost/evil.example", "localhost?.evil.example", "localhost#", "[", "localhost.",
     "127.0.0.1:evil.example@x.y"],
)  # fmt: skip
def test_other_names_are_not(host: str) -> None:
    with pytest.raises(WrongHost):
        REQUEST_GUARD.check_hosts("Host", [host])


def test_a_request_under_another_name_is_refused() -> None:
    with pytest.raises(WrongHost):
        REQUEST_GUARD.validate_scope(make_scope(host="evil.example"))


@pytest.mark.parametrize(
    ("length", "refused"), [(str(MAX_BODY_BYTES), False), (str(MAX_BODY_BYTES + 1), True), ("²", False)]
)
def test_a_body_that_is_announced_as_too_large_is_refused(length: str, refused: bool) -> None:
    scope = make_scope(content_length=length)
    if refused:
        with pytest.raises(PayloadTooLarge):
            REQUEST_GUARD.validate_scope(scope)
    else:
        REQUEST_GUARD.validate_scope(scope)


FORWARDED = {"x_forwarded_for": "1.2.3.4", "x_forwarded_host": "evil", "x_forwarded_proto": "http"}


def test_forwarding_headers_sent_by_a_client_are_ignored() -> None:
    headers = FORWARDED | {"x_gradio_server": "evil", "x_direct_url": "e", "forwarded": "host=evil"}
    checked = REQUEST_GUARD.validate_scope(make_scope(**headers))
    assert checked["headers"] == [(b"host", b"studio.example:7860")]
    assert checked["scheme"] == "https" and checked["client"] == ("10.0.0.1", 4711)


def validate_forwarded(client: str, headers: dict[str, str], **settings: Any) -> Scope:
    """Returns the scope of a request that `client` sent to the studio."""
    guard = RequestGuard(serve_page, Settings.model_validate(settings))
    return guard.validate_scope(make_scope(client=client, scheme="http", host="127.0.0.1:7860", **headers))


@pytest.mark.parametrize(
    ("client", "networks"),
    [("127.0.0.1", None), ("127.0.0.7", None), ("::1", None), ("10.0.0.1", "10.0.0.1"), ("10.0.0.1", "::1,10.0.0.9/8"),
     ("::ffff:10.0.0.1", "10.0.0.1"), ("fd00::7", "fd00::/8")],
)  # fmt: skip
def test_a_trusted_proxy_says_who_sent_a_request_and_to_which_address(client: str, networks: str | None) -> None:
    settings = {} if networks is None else {"trusted_proxies": networks}
    headers = {"x_forwarded_for": "1.2.3.4", "x_forwarded_proto": "https", "x_forwarded_host": "studio.lan:8443"}
    scope = validate_forwarded(client, headers, hosts="studio.lan", **settings)
    assert scope["client"][0] == "1.2.3.4" and scope["scheme"] == "https"
    assert scope["headers"] == [(b"host", b"studio.lan:8443")]


@pytest.mark.parametrize("networks", ["", "10.0.0.2", "fd00::/8"])
def test_whoever_is_no_trusted_proxy_says_nothing(networks: str) -> None:
    scope = validate_forwarded("10.0.0.1", FORWARDED, trusted_proxies=networks)
    assert (scope["client"][0], scope["scheme"]) == ("10.0.0.1", "http")
    assert scope["headers"] == [(b"host", b"127.0.0.1:7860")]


@pytest.mark.parametrize(
    ("forwarded_for", "client"),
    [("9.9.9.9, 1.2.3.4", "1.2.3.4"), ("9.9.9.9, 1.2.3.4, 10.0.0.2", "1.2.3.4"), ("9.9.9.9,10.0.0.3", "9.9.9.9"),
     ("1.2.3.4:5", "1.2.3.4"), ("[2001:db8::1]:5", "2001:db8::1"), ("2001:db8:0::1", "2001:db8::1"),
     ("9.9.9.9, nonsense", "10.0.0.1"), ("9.9.9.9, unknown, 1.2.3.4", "1.2.3.4"), ("", "10.0.0.1"),
     ("9.9.9.9, nonsense, 10.0.0.2", "10.0.0.2"), ("127.0.0.1, 1.2.3.4", "1.2.3.4")],
)  # fmt: skip
def test_a_client_does_not_choose_its_address(forwarded_for: str, client: str) -> None:
    scope = validate_forwarded("10.0.0.1", {"x_forwarded_for": forwarded_for}, trusted_proxies="10.0.0.0/8")
    assert scope["client"][0] == client


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example", "x_forwarded_host": "127.0.0.1"}, {"x_forwarded_host": "evil.example"},
     {"x_forwarded_host": "127.0.0.1, evil.example"}, {"x_forwarded_host": "evil.example, 127.0.0.1"}],
)  # fmt: skip
def test_no_forwarded_host_gives_the_studio_another_name(
    headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(WrongHost, match=r"evil\.example.*'hosts'"):
        RequestGuard(serve_page, Settings()).validate_scope(make_scope(client="127.0.0.1", **{"host": "a"} | headers))
    (record,) = caplog.records
    assert "evil.example" in record.message and "'hosts'" in record.message


def test_the_first_forwarded_host_is_that_of_the_browser() -> None:
    scope = validate_forwarded("127.0.0.1", {"x_forwarded_host": "a:1, b:2", "x_forwarded_proto": "https, http"})
    assert scope["headers"] == [(b"host", b"a:1")] and scope["scheme"] == "https"


@pytest.mark.parametrize(
    ("public_url", "host", "sent"),
    [("http://a.lan:8080/x", "a.lan", "a.lan:8080"), ("http://a.lan:8080", "A.lan:7860", "A.lan:7860"),
     ("https://a.lan", "a.lan", "a.lan"), ("http://a.lan:8080", "10.0.0.1", "10.0.0.1")],
)  # fmt: skip
def test_a_port_that_a_proxy_removed_is_that_of_the_public_url(public_url: str, host: str, sent: str) -> None:
    scope = RequestGuard(serve_page, Settings(public_url=public_url)).validate_scope(make_scope(host=host))
    assert scope["headers"] == [(b"host", sent.encode())]


def test_a_forwarded_scheme_that_is_none_is_ignored() -> None:
    assert validate_forwarded("127.0.0.1", {"x_forwarded_proto": "javascript"})["scheme"] == "http"


def test_a_websocket_of_a_page_with_tls_has_tls() -> None:
    scope = {**make_scope(client="127.0.0.1", host="a", x_forwarded_proto="https"), "type": "websocket"}
    assert RequestGuard(serve_page, Settings()).validate_scope(scope)["scheme"] == "wss"


@pytest.mark.parametrize(
    ("path", "known_as"),
    [("/config", "/config"), ("/here/config", "/config"), ("/here/here/config", "/config"), ("/here", "/"),
     ("/hereafter", "/hereafter"), ("/", "/")],
)  # fmt: skip
def test_a_path_is_the_same_with_its_prefix_and_without(path: str, known_as: str) -> None:
    assert strip_prefix(path, get_path_prefix(SETTINGS)) == known_as


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": "https://studio.example:7860"}, {"origin": "https://STUDIO.example:7860"},
     {"origin": "https://studio.example"}, {"origin": "https://studio.example:443"}, {"origin": "https://friend"},
     {"origin": "https://friend", "sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-origin"}],
)  # fmt: skip
def test_pages_of_the_studio_and_of_allowed_origins_may_send_requests(headers: dict[str, str]) -> None:
    check_origin(headers)


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://evil.example"}, {"origin": "null"}, {"origin": ""}, {"origin": "http://studio.example"},
     {"origin": "https://studio.example:8443"}, {"origin": "https://studio.example.evil.example"},
     {"origin": "https://friend.evil.example"}, {"origin": "http://friend"}, {"origin": "http://["},
     {"origin": "file://"}, {"origin": "https://evil.example/https://friend"}, {"sec_fetch_site": "cross-site"}],
)  # fmt: skip
def test_pages_of_other_origins_may_not_send_requests(headers: dict[str, str]) -> None:
    with pytest.raises(CrossSiteRequest):
        check_origin(headers)


@pytest.mark.parametrize("host", ["", "127.0.0.1:7860", "studio.lan"])
def test_a_browser_that_names_the_site_is_believed_whatever_the_proxy_made_of_the_host(host: str) -> None:
    page = {"host": host, "origin": "https://studio.lan:8443"}
    scope = check_origin(page | {"sec_fetch_site": "same-origin"}, Settings())
    assert (scope["scheme"], Headers(scope=scope)["host"]) == ("https", "studio.lan:8443")
    for site in ("cross-site", "same-site", "none"):
        with pytest.raises(CrossSiteRequest, match="'origins'"):
            check_origin(page | {"sec_fetch_site": site}, Settings(hosts=("studio.lan",)))


@pytest.mark.parametrize(
    ("settings", "origin", "host"),
    [
        ({}, "http://10.0.0.5:8080", "10.0.0.5"), ({}, "http://10.0.0.5", "10.0.0.5:80"),
        ({}, "https://10.0.0.5", "10.0.0.5"), ({}, "http://[fd00::1]:8080", "[fd00::1]"),
        ({"public_url": "http://studio.lan:8080/x"}, "http://studio.lan:8080", "127.0.0.1:7860"),
        ({"hosts": "studio.lan"}, "http://studio.lan:8080", "127.0.0.1:7860"),
        ({"hosts": "studio.lan"}, "http://studio.lan:8080", ""),
    ],
)  # fmt: skip
def test_a_page_of_the_studio_is_recognised_without_help_of_the_browser(
    settings: dict[str, Any], origin: str, host: str
) -> None:
    check_origin({"origin": origin, "host": host}, Settings.model_validate(settings))


@pytest.mark.parametrize(
    ("settings", "origin", "host"),
    [
        ({}, "http://10.0.0.5:8080", "10.0.0.5:7860"), ({}, "http://10.0.0.6:8080", "10.0.0.5"),
        ({}, "http://studio.lan:8080", "127.0.0.1:7860"), ({}, "http://studio.lan", ""),
        ({"port": 80}, "http://10.0.0.5:8080", "10.0.0.5"),
        ({"public_url": "http://studio.lan:8080"}, "http://studio.lan:9000", "studio.lan"),
        ({"hosts": "studio.lan"}, "http://evil.lan:8080", "127.0.0.1:7860"),
    ],
)  # fmt: skip
def test_a_page_of_another_host_or_port_is_not_taken_for_the_studios(
    settings: dict[str, Any], origin: str, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(CrossSiteRequest, match="set 'public_url' to it"):
        check_origin({"origin": origin, "host": host}, Settings.model_validate(settings))
    (record,) = caplog.records
    assert origin in record.message and host in record.message and "'public_url'" in record.message


def test_a_page_without_tls_is_not_taken_for_the_studios_with_tls() -> None:
    scope = make_scope(host="10.0.0.5", origin="http://10.0.0.5", scheme="https")
    with pytest.raises(CrossSiteRequest):
        OriginCheck(serve_page, [create_page_door()], Settings(), trusts_tokens=True).check_origin(scope)


def test_a_name_belongs_to_the_user_who_uses_it_first() -> None:
    ownership = GradioOwnership()
    ownership.register("session", ANN)
    ownership.register("session", ANN)
    with pytest.raises(NotFound):
        ownership.register("session", BOB)
    with pytest.raises(NotFound):
        ownership.check_owner("session", BOB)


def test_an_unused_name_belongs_to_no_user() -> None:
    with pytest.raises(NotFound):
        GradioOwnership().check_owner("session", ANN)


def test_a_name_can_have_two_owners() -> None:
    ownership = GradioOwnership()
    ownership.add_owner("file", ANN)
    ownership.add_owner("file", BOB)
    ownership.check_owner("file", ANN)
    ownership.check_owner("file", BOB)


def test_the_least_recently_used_name_is_dropped_first() -> None:
    ownership = GradioOwnership(max_entries=2)
    for thing in ("first", "second", "first", "third"):
        ownership.register(thing, ANN)
    ownership.check_owner("first", ANN)
    with pytest.raises(NotFound):
        ownership.check_owner("second", ANN)


def test_files_are_found_at_any_depth() -> None:
    deep: object = {"path": "deepest"}
    for _ in range(5000):
        deep = [deep]
    body = {"data": [{"path": "a", "more": {"path": "b"}}, deep, {"path": 7}, "path"], "event_data": {"path": "c"}}
    assert sorted(find_file_paths(body)) == ["a", "b", "c", "deepest"]
