"""REST under /v1: models, LoRAs and embeddings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from fastapi.sse import format_sse_event
from pydantic import Field, create_model

from imagegen.api.described import PROBLEMS
from imagegen.api.errors import known, rest
from imagegen.api.running import Caller
from imagegen.api.streams import EVENTS, EventStream
from imagegen.api.wire import as_json
from imagegen.info import AdapterInfo, ModelStatus, Step
from imagegen.kinds import Kind, Thing, kinds
from imagegen.schema import Message, Reference
from imagegen.service import Service
from imagegen.watching import while_there

DELETE = "Whether to remove it from the disk too, which only an administrator may do."
STREAM = "Whether to answer with server-sent events that tell how far it is."


class Unloaded(Message):
    unloaded: str
    deleted: bool


def stock(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=PROBLEMS)
    for kind in kinds(service.stock):
        add_kind(router, kind)
    return router


def add_kind(router: APIRouter, kind: Kind) -> None:
    name, many = kind.name, f"{kind.name}s"
    heading = {"model": "Models", "lora": "LoRAs", "embedding": "Embeddings"}[name]
    thing: Any = ModelStatus if name == "model" else AdapterInfo
    reference: Any = (Reference, Field(description=kind.where))
    loading: Any = create_model(f"Load{heading}", __base__=Message, **{
        name: reference, "stream": (bool, Field(False, description=STREAM)),
    })  # fmt: skip
    unloading: Any = create_model(f"Unload{heading}", __base__=Message, **{
        name: reference, "delete": (bool, Field(False, description=DELETE)),
    })  # fmt: skip

    async def listed() -> list[Thing]:
        return list(await asyncio.to_thread(kind.all))

    async def load(asked: loading, user: Caller, http: Request) -> Any:
        steps = kind.load(getattr(asked, name), user)
        if asked.stream:
            return EventStream(told(kind, steps))

        async def is_there() -> bool:
            return not await http.is_disconnected()

        done: str = getattr(asked, name)
        async with aclosing(while_there(steps, is_there)) as watched:
            async for step in watched:
                done = step.id
        return await asyncio.to_thread(kind.one, done)

    async def unload(asked: unloading, user: Caller) -> Unloaded:
        await kind.unload(getattr(asked, name), user, asked.delete)
        return Unloaded(unloaded=getattr(asked, name), deleted=asked.delete)

    listed.__doc__ = f"The {many}, with all that is known of them."
    load.__doc__ = f"Makes a {name} ready, from the Hub if it is not on disk, and answers when it is."
    unload.__doc__ = kind.unloading
    unload.__annotations__["asked"], load.__annotations__["asked"] = unloading, loading
    add = router.add_api_route
    add(f"/{many}/list", listed, methods=["GET"], response_model=list[thing], tags=[heading])
    add(f"/{many}/load", load, methods=["POST"], response_model=thing, tags=[heading], responses={200: EVENTS})
    add(f"/{many}/unload", unload, methods=["POST"], tags=[heading])


async def told(kind: Kind, steps: AsyncGenerator[Step]) -> AsyncGenerator[bytes]:
    """An answer has begun, so that what goes wrong is an event too."""
    done = ""
    try:
        async with aclosing(steps):
            async for step in steps:
                done = step.id
                yield format_sse_event(event="progress", data_str=as_json(step))
        thing = await asyncio.to_thread(kind.one, done)
        yield format_sse_event(event="result", data_str=thing.model_dump_json())
    except Exception as error:
        yield format_sse_event(event="error", data_str=json.dumps(rest(known(error))["error"]))
