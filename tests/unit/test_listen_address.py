"""Whether the studio can listen on an address is found out before it starts."""

from __future__ import annotations

import socket

import pytest

from imagegen.errors import AddressUnavailable
from imagegen.listen_address import check_listen_address


def test_a_port_that_is_in_use_is_refused_until_it_is_free() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        message = f"127.0.0.1, port {port}, because another program uses this port. Choose another with --port"
        with pytest.raises(AddressUnavailable, match=message):
            check_listen_address("127.0.0.1", port)
    check_listen_address("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "problem"),
    [
        ("192.0.2.1", "this address does not belong to this machine"),  # An address for documentation.
        ("no such host", "this host name is unknown"),
        ("a" * 64, "this host name is unknown"),
    ],
)
def test_a_wrong_host_is_named_with_its_setting(host: str, problem: str) -> None:
    with pytest.raises(AddressUnavailable, match=rf"{host}, port 0, because {problem}\. Choose another with --host"):
        check_listen_address(host, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_addresses_of_this_machine_are_accepted(host: str) -> None:
    check_listen_address(host, 0)
