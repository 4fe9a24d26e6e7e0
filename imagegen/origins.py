"""Parses Host headers, and origins: the scheme, host and port that browsers name in the Origin header (RFC 6454)."""

from __future__ import annotations

import re
from typing import NamedTuple

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
MAX_PORT = 65535
HOST_PATTERN = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::(\d{0,5}))?", re.ASCII)
ORIGIN_PATTERN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.+)", re.ASCII)


class Host(NamedTuple):
    """`name` is in lower case; an IPv6 address is without brackets. `port` is None if none was given."""

    name: str
    port: int | None


class Origin(NamedTuple):
    """`host` is like `Host.name`. If no port was given, `port` is the default port of the scheme, or None."""

    scheme: str
    host: str
    port: int | None

    @property
    def has_default_port(self) -> bool:
        return self.port == DEFAULT_PORTS.get(self.scheme)

    @property
    def authority(self) -> str:
        """The host, and the port unless it is the default: what a browser sends as Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.has_default_port else f"{host}:{self.port}"

    def __str__(self) -> str:
        """Returns the origin as a browser sends it."""
        return f"{self.scheme}://{self.authority}"


def parse_host(text: str) -> Host:
    """Parses the value of a Host header. Raises ValueError."""
    found = HOST_PATTERN.fullmatch(text)
    port = int(found[3]) if found and found[3] else None
    if found is None or (port or 0) > MAX_PORT:
        raise ValueError(f"{text!r} is not a host name, such as studio.example.org")
    return Host((found[1] or found[2]).lower(), port)


def parse_origin(text: str) -> Origin:
    """Raises ValueError, also for "null" and "file://", which browsers send for pages that have no origin."""
    found = ORIGIN_PATTERN.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        scheme, host = found[1].lower(), parse_host(found[2])
    except ValueError:
        raise ValueError(f"{text!r} is not an address without a path, such as https://example.org") from None
    return Origin(scheme, host.name, DEFAULT_PORTS.get(scheme) if host.port is None else host.port)
