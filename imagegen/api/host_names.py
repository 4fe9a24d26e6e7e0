"""The names under which the studio can be reached."""

from __future__ import annotations

import ipaddress
import socket

from imagegen.origins import parse_host
from imagegen.settings import Settings

# Names of this machine inside its containers. Nobody can register a domain below .internal.
CONTAINER_HOST_NAMES = ("host.docker.internal", "gateway.docker.internal", "host.containers.internal")


class HostNames:
    """The names of the settings and of this machine. Any IP address and any name without a dot is accepted too.

    Another website can point its own domain at the studio's address (DNS rebinding), but not use these names.
    """

    def __init__(self, settings: Settings) -> None:
        names = (*settings.hosts, settings.host, socket.gethostname(), *CONTAINER_HOST_NAMES)
        public = settings.public_origin
        self.names = frozenset(name.lower() for name in names) | ({public.host} if public else set())

    def is_known(self, host: str) -> bool:
        """Returns whether a Host header, with or without a port, may name the studio."""
        try:
            name = parse_host(host).name
        except ValueError:
            return False
        return name in self.names or "." not in name.removesuffix(".localhost") or is_ip_address(name)


def is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
