"""The tools for models, LoRAs and embeddings: list, load, unload. The same users may do the same as with REST."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

from mcp.types import ContentBlock
from pydantic import BaseModel, Field, create_model

from imagegen.api.mcp.tool import Caller, Tool, build_text
from imagegen.library.resource import ResourceInfo
from imagegen.model_manager import ManagedResource
from imagegen.schema.base import FrozenModel
from imagegen.schema.event_texts import describe_load_progress
from imagegen.schema.field_types import Reference
from imagegen.schema.models import LoadProgress
from imagegen.service import Service

WILDCARDS_HELP = "Lists the wildcards. A prompt has a line of one by its name, such as __colors__."
REFUSED_FILES_HELP = "Lists the files in the models folder that cannot be used, each with the reason."
DELETE_HELP = "Whether to delete it from the disk too, which only an administrator may do."


class NoArguments(FrozenModel):
    pass


def create_resource_tools(service: Service) -> list[Tool]:
    async def list_refused(_: BaseModel, __: Caller) -> list[ContentBlock]:
        return [build_text(file.model_dump()) for file in await asyncio.to_thread(manager.list_refused_files)]

    async def list_wildcards(_: BaseModel, __: Caller) -> list[ContentBlock]:
        return [build_text(info.model_dump()) for info in await asyncio.to_thread(manager.list_wildcards)]

    manager = service.model_manager
    tools = [tool for resource in service.resources.values() for tool in ResourceTools(resource).create()]
    return [
        *tools,
        Tool("list_refused_files", REFUSED_FILES_HELP, NoArguments, list_refused, only_reads=True),
        Tool("list_wildcards", WILDCARDS_HELP, NoArguments, list_wildcards, only_reads=True),
    ]


class ResourceTools:
    """Three tools for one kind of resource."""

    def __init__(self, resource: ManagedResource[ResourceInfo]) -> None:
        self.resource = resource

    def create(self) -> Iterator[Tool]:
        name, plural = self.resource.name, f"{self.resource.name}s"
        reference: Any = (Reference, Field(description=self.resource.reference_help))
        load: Any = create_model(f"load_{name}", __base__=FrozenModel, **{name: reference})
        unload: Any = create_model(
            f"unload_{name}", __base__=load, delete=(bool, Field(False, description=DELETE_HELP))
        )
        list_help = f"Lists the {plural}, with all that is known about each."
        load_help = f"Loads a {name}, from the Hub if it is not on disk, and returns what is known about it."
        yield Tool(f"list_{plural}", list_help, NoArguments, self.list_all, only_reads=True)
        yield Tool(f"load_{name}", load_help, load, self.load)
        yield Tool(f"unload_{name}", self.resource.unload_help, unload, self.unload)

    async def list_all(self, _: BaseModel, __: Caller) -> list[ContentBlock]:
        return [build_text(info.model_dump()) for info in await asyncio.to_thread(self.resource.list_all)]

    async def load(self, arguments: BaseModel, caller: Caller) -> list[ContentBlock]:
        """Downloads what is not on disk. Raises what `ManagedResource.load` raises."""
        resource_id = self.get_reference(arguments)
        async with aclosing(self.resource.load(resource_id, caller.user)) as updates:
            async for update in updates:
                resource_id = update.id
                await caller.progress.report(measure_fraction(update), describe_load_progress(update))
        return [build_text((await asyncio.to_thread(self.resource.get, resource_id)).model_dump())]

    async def unload(self, arguments: BaseModel, caller: Caller) -> list[ContentBlock]:
        """Raises what `ManagedResource.unload` raises."""
        reference, delete = self.get_reference(arguments), bool(getattr(arguments, "delete"))  # noqa: B009
        await self.resource.unload(reference, caller.user, delete)
        return [build_text({"unloaded": reference, "deleted": delete})]

    def get_reference(self, arguments: BaseModel) -> str:
        reference: str = getattr(arguments, self.resource.name)
        return reference


def measure_fraction(update: LoadProgress) -> float:
    """Returns the share of a download that has arrived, in 0..1."""
    return (update.received or 0) / update.size if update.size else 0
