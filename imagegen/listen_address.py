"""Finds out, before the studio starts, whether it can listen on its address."""

from __future__ import annotations

import errno
import os
import socket

from imagegen.errors import AddressUnavailable

PROBLEMS = {
    errno.EADDRINUSE: ("another program uses this port", "--port"),
    errno.EACCES: ("this user may not use this port", "--port"),
    errno.EADDRNOTAVAIL: ("this address does not belong to this machine", "--host"),
}

MISSING_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def check_listen_address(host: str, port: int) -> None:
    """Listens for a moment on each address that `host` stands for. Raises AddressUnavailable."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise AddressUnavailable(host, port, "this host name is unknown", "--host") from None
    problems = [error for each in found if (error := try_to_listen(*each)) is not None]
    # A name such as localhost may also stand for an address of IPv6 that this machine does not have.
    others = [error for error in problems if error.errno not in MISSING_ADDRESS]
    if others or len(problems) == len(found):
        first = (others or problems)[0]
        problem, flag = PROBLEMS.get(first.errno or 0, (first.strerror or str(first), "--host or --port"))
        raise AddressUnavailable(host, port, problem, flag) from first


def try_to_listen(
    family: int, kind: int, protocol: int, _name: str, address: tuple[str | int | bytes, ...]
) -> OSError | None:
    """Returns the error, None if there is none."""
    try:
        with socket.socket(family, kind, protocol) as listener:
            if os.name == "posix":  # As asyncio's servers do. On Windows it would share the port with another program.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
    except OSError as error:
        return error
    return None
