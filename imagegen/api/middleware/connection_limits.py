"""Limits how many requests and WebSockets one address has open at a time."""

from __future__ import annotations

from collections import Counter

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from imagegen.api.middleware.authenticators import LOCAL_ADDRESS, get_client_address
from imagegen.api.middleware.base import Middleware
from imagegen.errors import RateLimited


class ConnectionLimits(Middleware):
    """Raises RateLimited. Addresses of this machine have no limit: a proxy on it may send the requests of all users."""

    def __init__(self, app: ASGIApp, max_per_address: int) -> None:
        super().__init__(app)
        self.max_per_address = max_per_address
        self.open_by_address: Counter[str] = Counter()

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = get_client_address(HTTPConnection(scope))
        if address != LOCAL_ADDRESS and self.open_by_address[address] >= self.max_per_address:
            raise RateLimited(retry_after=1)
        self.open_by_address[address] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.open_by_address[address] -= 1
            if not self.open_by_address[address]:
                del self.open_by_address[address]
