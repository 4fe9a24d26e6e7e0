"""Routes a request to the API or to the Gradio page, whichever serves its door."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from imagegen.api.door import Door, find_door


class Gateway:
    """`root_path` is the prefix of the API's own addresses, for links in its responses."""

    def __init__(self, doors: Sequence[Door], api: ASGIApp, page: ASGIApp, root_path: str) -> None:
        self.doors, self.api, self.page, self.root_path = doors, api, page, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "path" in scope and find_door(self.doors, scope["path"]).router is not None:
            await self.api({**scope, "root_path": self.root_path}, receive, send)
        else:
            await self.page(scope, receive, send)
