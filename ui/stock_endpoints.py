"""The endpoints for programs that manage models, LoRAs and embeddings."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from inspect import Parameter
from typing import Any

import gradio as gr

from imagegen.errors import InvalidRequest
from imagegen.kinds import Kind, kinds
from imagegen.service import Service
from ui.endpoints import document, publish
from ui.visitors import user_of
from ui.wording import refused, told

Facts = dict[str, Any]
DELETE = "Whether to remove it from the disk too, which only an administrator may do."


def add_stock_endpoints(service: Service, demo: gr.Blocks) -> None:
    for kind in kinds(service.stock):
        KindEndpoints(kind).add(demo)


class KindEndpoints:
    """Three endpoints for one kind of thing: list, load, unload."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def add(self, demo: gr.Blocks) -> None:
        name, where = self.kind.name, self.kind.where
        reference = Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, annotation=str)
        delete = Parameter("delete", Parameter.POSITIONAL_OR_KEYWORD, default=False, annotation=bool)
        many = f"{name}s"
        ready = f"Makes a {name} ready, from the Hub if it is not on disk; tells its progress in bytes."
        add(demo, self.list, f"list_{many}", f"Lists the {many}, with all that is known of them.", {}, many)
        add(demo, self.load, f"load_{name}", ready, {reference: where}, name)
        add(demo, self.unload, f"unload_{name}", self.kind.unloading, {reference: where, delete: DELETE}, "unloaded")

    async def list(self, _: gr.Request) -> list[Facts]:
        with refused():
            return [thing.model_dump() for thing in await asyncio.to_thread(self.kind.all)]

    async def load(self, reference: str, http: gr.Request) -> Facts:
        with refused():
            self.check(reference)
            progress, done = gr.Progress(), reference
            async with aclosing(self.kind.load(reference, user_of(http))) as steps:
                async for step in steps:
                    share = step.received / step.size if step.received is not None and step.size else 0
                    progress(share, desc=told(step))
                    done = step.id
            return (await asyncio.to_thread(self.kind.one, done)).model_dump()

    def check(self, reference: object) -> None:
        """Gradio does not look at the types that it publishes. Raises InvalidRequest."""
        if not isinstance(reference, str) or not reference.strip():
            raise InvalidRequest(self.kind.name, "must be a name")

    async def unload(self, reference: str, delete: bool, http: gr.Request) -> Facts:
        with refused():
            self.check(reference)
            if not isinstance(delete, bool):
                raise InvalidRequest("delete", "must be true or false")
            await self.kind.unload(reference, user_of(http), delete)
        return {"unloaded": reference, "deleted": delete}


def add(demo: gr.Blocks, method: Any, name: str, summary: str, parameters: dict[Parameter, str], result: str) -> None:
    async def call(*arguments: Any) -> Any:
        return await method(*arguments)

    help_texts = {parameter.name: text for parameter, text in parameters.items()}
    returns = list[Facts] if name.startswith("list_") else Facts
    publish(call, name, summary, list(parameters), help_texts, returns)
    function = demo.fns[gr.api(call, api_name=name)["id"]]
    for control, (label, text) in zip(function.inputs, help_texts.items(), strict=True):
        document(control, label, text)
    for control in function.outputs:
        document(control, result, None)
