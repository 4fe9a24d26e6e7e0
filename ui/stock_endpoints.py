"""The endpoints for programs that manage models, LoRAs and embeddings."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from inspect import Parameter
from typing import Any

import gradio as gr

from imagegen.errors import InvalidRequest
from imagegen.info import AdapterKind, Step
from imagegen.schema import User
from imagegen.service import Service
from imagegen.stock import Stock
from ui.endpoints import document, publish
from ui.visitors import user_of
from ui.wording import refused, told

Facts = dict[str, Any]
DELETE = "Whether to remove it from the disk too, which only the owner may do."


def add_stock_endpoints(service: Service, demo: gr.Blocks) -> None:
    for kind in (Models(service.stock), Adapters(service.stock, "lora"), Adapters(service.stock, "embedding")):
        kind.add(demo)


class Kind(ABC):
    """Three endpoints for one kind of thing: list, load, unload."""

    name: str
    where: str
    unloading = "Frees the memory of"

    def __init__(self, stock: Stock) -> None:
        self.stock = stock

    @abstractmethod
    def all(self) -> list[Facts]:
        """What is known of each. Reads the disk."""

    @abstractmethod
    def one(self, reference: str) -> Facts:
        """What is known of one. Reads the disk."""

    @abstractmethod
    def steps(self, reference: str, user: User) -> AsyncGenerator[Step]:
        """Brings it to where it can be used."""

    @abstractmethod
    async def send_away(self, reference: str, user: User, delete: bool) -> None:
        """Frees what it takes."""

    def add(self, demo: gr.Blocks) -> None:
        reference = Parameter(self.name, Parameter.POSITIONAL_OR_KEYWORD, annotation=str)
        delete = Parameter("delete", Parameter.POSITIONAL_OR_KEYWORD, default=False, annotation=bool)
        many = f"{self.name}s"
        ready = f"Makes a {self.name} ready, from the Hub if it is not on disk; tells its progress in bytes."
        add(demo, self.list, f"list_{many}", f"Lists the {many}, with all that is known of them.", {}, many)
        add(demo, self.load, f"load_{self.name}", ready, {reference: self.where}, self.name)
        ended = f"{self.unloading} a {self.name}, or ends its download."
        add(demo, self.unload, f"unload_{self.name}", ended, {reference: self.where, delete: DELETE}, "unloaded")

    async def list(self, _: gr.Request) -> list[Facts]:
        with refused():
            return await asyncio.to_thread(self.all)

    async def load(self, reference: str, http: gr.Request) -> Facts:
        with refused():
            self.check(reference)
            progress, done = gr.Progress(), reference
            async with aclosing(self.steps(reference, user_of(http))) as steps:
                async for step in steps:
                    share = step.received / step.size if step.received is not None and step.size else 0
                    progress(share, desc=told(step))
                    done = step.id
            return await asyncio.to_thread(self.one, done)

    def check(self, reference: object) -> None:
        """Gradio does not look at the types that it publishes. Raises InvalidRequest."""
        if not isinstance(reference, str) or not reference.strip():
            raise InvalidRequest(self.name, "must be a name")

    async def unload(self, reference: str, delete: bool, http: gr.Request) -> Facts:
        with refused():
            self.check(reference)
            if not isinstance(delete, bool):
                raise InvalidRequest("delete", "must be true or false")
            await self.send_away(reference, user_of(http), delete)
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


class Models(Kind):
    name = "model"
    where = "A name from /list_models, a Hugging Face repository, or a file or folder in the models folder."

    def all(self) -> list[Facts]:
        return [status.model_dump() for status in self.stock.models()]

    def one(self, reference: str) -> Facts:
        return self.stock.status(self.stock.library.models.get(reference)).model_dump()

    def steps(self, reference: str, user: User) -> AsyncGenerator[Step]:
        return self.stock.load_model(reference, user)

    async def send_away(self, reference: str, user: User, delete: bool) -> None:
        await self.stock.unload_model(reference, user, delete)


class Adapters(Kind):
    unloading = "Lets go of"

    def __init__(self, stock: Stock, kind: AdapterKind) -> None:
        super().__init__(stock)
        self.kind, self.name = kind, kind
        self.where = f"A name from /list_{kind}s, or a Hugging Face repository, with its file where it holds several."

    def all(self) -> list[Facts]:
        return [info.model_dump() for info in self.stock.listed(self.kind)]

    def one(self, reference: str) -> Facts:
        return self.stock.library.adapters[self.kind].get(reference).info.model_dump()

    def steps(self, reference: str, user: User) -> AsyncGenerator[Step]:
        return self.stock.load_adapter(self.kind, reference, user)

    async def send_away(self, reference: str, user: User, delete: bool) -> None:
        await self.stock.unload_adapter(self.kind, reference, user, delete)
