"""Reads the headers in which a trusted proxy names the client, the scheme and the host of a request."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Forwarded:
    """What the proxy in front of the studio says; None and () for what it does not say."""

    client: str | None = None
    scheme: str | None = None
    hosts: tuple[str, ...] = ()


NOT_FORWARDED = Forwarded()


class TrustedProxies:
    """`networks` are addresses and networks of proxies. A client of any other address cannot say who it is."""

    def __init__(self, networks: Sequence[str]) -> None:
        self.networks = [ipaddress.ip_network(network, strict=False) for network in networks]

    def read(self, scope: Scope) -> Forwarded:
        """Returns what the headers say if a trusted proxy sent the request, and nothing otherwise."""
        peer = parse_address((scope.get("client") or ("",))[0])
        if peer is None or not self.is_trusted(peer):
            return NOT_FORWARDED
        headers = Headers(scope=scope)
        schemes = split_values(headers.getlist("x-forwarded-proto"))
        return Forwarded(
            client=self.find_client(split_values(headers.getlist("x-forwarded-for"))),
            scheme=schemes[0].lower() if schemes and schemes[0].lower() in ("http", "https") else None,
            hosts=split_values(headers.getlist("x-forwarded-host")),
        )

    def is_trusted(self, address: IpAddress) -> bool:
        return any(address in network for network in self.networks)

    def find_client(self, addresses: Sequence[str]) -> str | None:
        """Returns the address that the last trusted proxy reports, from a list to which each proxy appends one.

        What stands before an address that is not trusted, the client may have written itself.
        """
        client: str | None = None
        for text in reversed(addresses):
            address = parse_address(text)
            if address is None:
                break
            client = str(address)
            if not self.is_trusted(address):
                break
        return client


def split_values(lines: Iterable[str]) -> tuple[str, ...]:
    """Returns the values of a header that may be repeated, and may have several values with commas."""
    return tuple(value.strip() for line in lines for value in line.split(",") if value.strip())


def parse_address(text: str) -> IpAddress | None:
    """Returns the IP address in a text such as 10.0.0.1, 10.0.0.1:4711 or [::1]:4711, and None if there is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
