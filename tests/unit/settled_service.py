"""A service for tests with a scripted worker."""

from __future__ import annotations

import asyncio
from typing import Any

from imagegen.schema.base import User
from imagegen.schema.receipt import RequestedAs
from imagegen.schema.request import GenerationRequest
from imagegen.service import Service


class SettledService(Service):
    """Its `submit` returns when the dispatcher has started all jobs that can start."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._is_settled = asyncio.Event()
        dispatcher = self._dispatcher
        wake, start_next = dispatcher.wake, dispatcher._start_next

        def wake_and_wait() -> None:
            self._is_settled.clear()
            wake()

        async def start_next_and_tell() -> bool:
            has_more = await start_next()
            if not has_more and not dispatcher._wake_up.is_set():
                self._is_settled.set()
            return has_more

        vars(dispatcher).update(wake=wake_and_wait, _start_next=start_next_and_tell)

    async def submit(
        self,
        request: GenerationRequest,
        user: User,
        idempotency_key: str | None = None,
        requested: RequestedAs | None = None,
    ) -> str:
        job_id = await super().submit(request, user, idempotency_key, requested)
        await self._is_settled.wait()
        return job_id
