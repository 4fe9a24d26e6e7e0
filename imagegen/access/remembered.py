"""An authority that is not asked again for a while."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from imagegen.access.identity import TOKEN, Authority, Identity
from imagegen.errors import BadCredentials, SignInUnavailable

WRONG_FOR = 15.0
# How long a token is taken for good while its authority cannot be asked.
TRUSTED = 600.0
MOST = 10_000


@dataclass
class Answer:
    """What the authority said; None: that the token is wrong. Times are those of the clock."""

    identity: Identity | None
    asked: float
    fresh_until: float


class Remembered:
    """Asks once for all who come with the same token at once, and then when that is not fresh. Tokens are not kept."""

    def __init__(self, authority: Authority, secret: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        self.authority, self.tokens = authority, authority.tokens
        self._secret, self._clock = secret, clock
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Identity | None]] = {}

    def is_guess(self, token: str) -> bool:
        """Whether it would have to ask about a token that it never heard of, or that was wrong."""
        if not TOKEN.fullmatch(token):
            return False
        key = self._key(token)
        answer = self._answers.get(key)
        return key not in self._asking and not self._is_fresh(key) and (answer is None or answer.identity is None)

    def has(self, identity: Identity) -> bool:
        return self.authority.has(identity)

    async def identify(self, token: str) -> Identity:
        """Raises BadCredentials and SignInUnavailable."""
        identity = await self._answer(self._key(token), token) if TOKEN.fullmatch(token) else None
        if identity is None:
            raise BadCredentials(what=self.tokens)
        return identity

    def _is_fresh(self, key: bytes) -> bool:
        answer = self._answers.get(key)
        return answer is not None and self._clock() < answer.fresh_until

    async def _answer(self, key: bytes, token: str) -> Identity | None:
        if self._is_fresh(key):
            self._answers.move_to_end(key)
            return self._answers[key].identity
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(key, token))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        # Whoever came first may leave; the others still want to know.
        return await asyncio.shield(task)

    async def _ask(self, key: bytes, token: str) -> Identity | None:
        now = self._clock()
        try:
            identity: Identity | None = await self.authority.identify(token)
        except BadCredentials:
            identity = None
        except SignInUnavailable as error:
            known = self._answers.get(key)
            if known is None or known.identity is None or now - known.asked > TRUSTED:
                raise
            known.fresh_until = now + error.retry_after
            return known.identity
        self._answers[key] = Answer(identity, now, now + (self.authority.fresh if identity else WRONG_FOR))
        self._answers.move_to_end(key)
        while len(self._answers) > MOST:
            self._answers.popitem(last=False)
        return identity

    def _key(self, token: str) -> bytes:
        return hmac.digest(self._secret, token.encode(), hashlib.sha256)
