"""The web UI's routes that list what can be chosen, and those that have nothing to do."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter

from imagegen.api.a1111 import lists
from imagegen.api.a1111.responses import Done
from imagegen.api.a1111.vaes import Vae, list_vaes
from imagegen.api.rest.dependencies import CurrentUser
from imagegen.schema.base import FrozenModel
from imagegen.schema.field_types import LATENT_UPSCALER
from imagegen.service import Service

EMPTY_LISTS = (
    "hypernetworks",
    "face-restorers",
    "realesrgan-models",
    "prompt-styles",
    "script-info",
    "extensions",
    "lycos",
)
REFRESHABLE_LISTS = ("checkpoints", "loras", "embeddings", "vae", "lycos")


class NothingThere(FrozenModel):
    """The web UI has these, the studio does not."""


def add_list_routes(router: APIRouter, service: Service) -> None:
    model_manager = service.model_manager

    @router.get("/sd-models")
    async def models() -> list[lists.Checkpoint]:
        """The models on disk."""
        return await asyncio.to_thread(lists.list_checkpoints, model_manager)

    @router.get("/loras")
    async def loras() -> list[lists.Lora]:
        """The LoRAs on disk. `<lora:name:weight>` in a prompt applies one."""
        return lists.list_loras(await asyncio.to_thread(model_manager.list_adapters, "lora"))

    @router.get("/embeddings")
    async def embeddings(user: CurrentUser) -> lists.Embeddings:
        """The embeddings on disk. The name of one in a prompt applies it."""
        return await asyncio.to_thread(lists.list_embeddings, model_manager, await service.get_model_choice(user))

    @router.get("/samplers")
    async def samplers() -> list[lists.Sampler]:
        """All samplers. A model may support fewer."""
        return lists.list_samplers()

    @router.get("/schedulers")
    async def schedulers() -> list[lists.Scheduler]:
        """The schedulers that a sampler can be combined with."""
        return lists.list_schedulers()

    @router.get("/upscalers")
    async def upscalers() -> list[lists.Upscaler]:
        """The upscalers for a finished picture, and for a second pass."""
        return await asyncio.to_thread(lists.list_upscalers, model_manager)

    @router.get("/sd-vae")
    async def vaes() -> list[Vae]:
        """The VAEs on disk. `sd_vae` in the options, or in `override_settings` of a request, chooses one."""
        return await asyncio.to_thread(list_vaes, model_manager)

    @router.get("/latent-upscale-modes")
    async def latent_modes() -> list[lists.LatentUpscaleMode]:
        """What makes the latents of a second pass larger."""
        return [lists.LatentUpscaleMode(name=LATENT_UPSCALER)]

    @router.get("/memory")
    async def memory() -> lists.Memory:
        """The memory of the machine."""
        return lists.read_memory()


def add_placeholder_routes(router: APIRouter) -> None:
    """Lists that are always empty, and actions that have nothing to do."""

    async def none() -> list[NothingThere]:
        """Always empty: the studio has none."""
        return []

    async def done() -> Done:
        """Does nothing: lists always show what is on disk."""
        return Done()

    for name in EMPTY_LISTS:
        router.add_api_route(f"/{name}", none, methods=["GET"])
    for name in REFRESHABLE_LISTS:
        router.add_api_route(f"/refresh-{name}", done, methods=["POST"])

    @router.get("/scripts")
    async def scripts() -> lists.Scripts:
        """The scripts that a request can have."""
        return lists.Scripts()

    @router.get("/cmd-flags")
    async def flags() -> Done:
        """Always empty: the studio has its own settings."""
        return Done()
