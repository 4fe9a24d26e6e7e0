"""Host headers and origins."""

from __future__ import annotations

import pytest

from imagegen.origins import Host, Origin, parse_host, parse_origin


@pytest.mark.parametrize(
    ("text", "host"),
    [("a", Host("a", None)), ("A.B:80", Host("a.b", 80)), ("[::1]:7860", Host("::1", 7860)),
     ("[FD00::1]", Host("fd00::1", None)), ("a:", Host("a", None)), ("my_studio:65535", Host("my_studio", 65535))],
)  # fmt: skip
def test_a_host_has_a_name_and_perhaps_a_port(text: str, host: Host) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize(
    "text", ["", "a b", "a:b", "a:65536", "a/b", "a@b", "::1", "[::1", "[g]", "a,b", "a?b", "ä", "*"]
)
def test_anything_else_is_no_host(text: str) -> None:
    with pytest.raises(ValueError, match="is not a host name"):
        parse_host(text)


@pytest.mark.parametrize(
    ("text", "origin", "sent"),
    [
        ("https://A.example", Origin("https", "a.example", 443), "https://a.example"),
        ("HTTP://a:80", Origin("http", "a", 80), "http://a"),
        ("http://[::1]:443", Origin("http", "::1", 443), "http://[::1]:443"),
        ("app://studio", Origin("app", "studio", None), "app://studio"),
    ],
)
def test_an_origin_is_a_scheme_a_host_and_a_port(text: str, origin: Origin, sent: str) -> None:
    assert parse_origin(text) == origin and str(origin) == sent


@pytest.mark.parametrize(
    "text", ["null", "", "*", "a.example", "file://", "https://", "https://a/", "https://a/b", "//a", "1://a"]
)
def test_anything_else_is_no_origin(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address without a path"):
        parse_origin(text)
