"""A cache in front of an authority, so that the same token is not checked at every request."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from imagegen.access.identity import TOKEN_PATTERN, Authority, Identity
from imagegen.errors import BadCredentials, SignInUnavailable

REJECTED_CACHE_SECONDS = 15.0
# How long a token stays valid while its authority is unavailable.
MAX_STALE_SECONDS = 600.0
MAX_CACHED_TOKENS = 10_000


@dataclass
class CachedIdentity:
    """The identity of a token; None for a rejected token. Times are in seconds of the cache's clock."""

    identity: Identity | None
    fetched_at: float
    fresh_until: float


class CachedAuthority:
    """Identifies each token once per `cache_seconds`; concurrent calls with the same token share one request.

    Only keyed digests of tokens are stored.
    """

    def __init__(self, authority: Authority, secret: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        self.authority, self.token_hint = authority, authority.token_hint
        self.is_remote = authority.is_remote
        self._secret, self._clock = secret, clock
        self._entries: OrderedDict[bytes, CachedIdentity] = OrderedDict()
        self._pending: dict[bytes, asyncio.Task[Identity | None]] = {}

    def is_unknown_token(self, token: str) -> bool:
        """Returns whether `identify` would check a token with the authority that is not cached, or was rejected."""
        if not TOKEN_PATTERN.fullmatch(token):
            return False
        key = self._hash_token(token)
        entry = self._entries.get(key)
        return key not in self._pending and not self._is_fresh(key) and (entry is None or entry.identity is None)

    def is_still_valid(self, identity: Identity) -> bool:
        """Returns whether a session of this identity may continue."""
        return self.authority.is_still_valid(identity)

    async def identify(self, token: str) -> Identity:
        """Returns whom the token belongs to. Raises BadCredentials and SignInUnavailable.

        While the authority is unavailable, a token that it accepted in the last MAX_STALE_SECONDS stays valid.
        """
        identity = await self._get_or_fetch(self._hash_token(token), token) if TOKEN_PATTERN.fullmatch(token) else None
        if identity is None:
            raise BadCredentials(what=self.token_hint)
        return identity

    def _is_fresh(self, key: bytes) -> bool:
        entry = self._entries.get(key)
        return entry is not None and self._clock() < entry.fresh_until

    async def _get_or_fetch(self, key: bytes, token: str) -> Identity | None:
        if self._is_fresh(key):
            self._entries.move_to_end(key)
            return self._entries[key].identity
        task = self._pending.get(key)
        if task is None:
            task = self._pending[key] = asyncio.create_task(self._fetch(key, token))
            task.add_done_callback(lambda _: self._pending.pop(key, None))
        # `shield`: one caller may be cancelled while others await the same task.
        return await asyncio.shield(task)

    async def _fetch(self, key: bytes, token: str) -> Identity | None:
        now = self._clock()
        try:
            identity: Identity | None = await self.authority.identify(token)
        except BadCredentials:
            identity = None
        except SignInUnavailable as error:
            cached = self._entries.get(key)
            if cached is None or cached.identity is None or now - cached.fetched_at > MAX_STALE_SECONDS:
                raise
            cached.fresh_until = now + error.retry_after
            return cached.identity
        self._entries[key] = CachedIdentity(
            identity, now, now + (self.authority.cache_seconds if identity else REJECTED_CACHE_SECONDS)
        )
        self._entries.move_to_end(key)
        while len(self._entries) > MAX_CACHED_TOKENS:
            self._entries.popitem(last=False)
        return identity

    def _hash_token(self, token: str) -> bytes:
        return hmac.digest(self._secret, token.encode(), hashlib.sha256)
