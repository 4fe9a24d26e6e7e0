"""The routes of the web UI's ControlNet extension under /controlnet."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field

from imagegen.api.a1111.controlnet import IP_ADAPTER_MODULES, MODULES, find_preprocessor
from imagegen.api.a1111.unknown_fields import OpenModel, list_unknown_fields, log_ignored_fields
from imagegen.api.rest.dependencies import CurrentUser
from imagegen.api.rest.openapi import SAMPLE_IMAGE
from imagegen.errors import InvalidRequest
from imagegen.media.base64_images import encode_base64
from imagegen.preprocessing import store_control_map
from imagegen.schema.base import FrozenModel
from imagegen.schema.controls import MAX_CONTROLS
from imagegen.schema.models import AdapterKind
from imagegen.service import Service

# The version of the extension's API that these routes are like.
API_VERSION = 2
# The control type that the web UI's page shows first, with all models and modules.
ALL_TYPES = "All"
MAX_DETECTED = 8
# What a unit can be.
KINDS: tuple[AdapterKind, ...] = ("controlnet", "ip_adapter")


class ApiVersion(FrozenModel):
    version: int


class ExtensionSettings(FrozenModel):
    control_net_unit_count: int


class ModelList(FrozenModel):
    model_list: tuple[str, ...]


class ModuleList(FrozenModel):
    module_list: tuple[str, ...]


class ControlType(FrozenModel):
    module_list: tuple[str, ...]
    model_list: tuple[str, ...]
    default_option: str
    default_model: str


class ControlTypes(FrozenModel):
    control_types: dict[str, ControlType]


class DetectBody(OpenModel):
    """`controlnet_input_images` are in base64 or data URIs."""

    controlnet_module: Any = Field("none", description="A name from module_list.")
    controlnet_input_images: tuple[str, ...] = Field((), max_length=MAX_DETECTED, examples=[[SAMPLE_IMAGE]])
    controlnet_threshold_a: Any = Field(None, description="Must be the module's own.")
    controlnet_threshold_b: Any = Field(None, description="Must be the module's own.")


class Detected(FrozenModel):
    """`images` are the control maps, as PNG files in base64."""

    images: tuple[str, ...]
    info: str = "Success"


def create_controlnet_router(service: Service, responses: dict[int | str, dict[str, Any]]) -> APIRouter:
    router = APIRouter(prefix="/controlnet", tags=["AUTOMATIC1111"], responses=responses)

    @router.get("/version")
    async def version() -> ApiVersion:
        """The version of the extension's API."""
        return ApiVersion(version=API_VERSION)

    @router.get("/settings")
    async def settings() -> ExtensionSettings:
        """How many units a request may have."""
        return ExtensionSettings(control_net_unit_count=MAX_CONTROLS)

    @router.get("/model_list")
    async def models() -> ModelList:
        """The ControlNets and IP-Adapters on disk."""
        return ModelList(model_list=tuple(await list_ids(service)))

    @router.get("/module_list")
    async def modules() -> ModuleList:
        """The preprocessors, and the names that make a unit an IP-Adapter."""
        return ModuleList(module_list=(*MODULES, *IP_ADAPTER_MODULES))

    @router.get("/control_types")
    async def types() -> ControlTypes:
        """One type, with all models and preprocessors."""
        ids = await list_ids(service)
        modules = (*MODULES, *IP_ADAPTER_MODULES)
        every = ControlType(module_list=modules, model_list=("None", *ids), default_option="none", default_model="None")
        return ControlTypes(control_types={ALL_TYPES: every})

    @router.post("/detect")
    async def detect(body: DetectBody, user: CurrentUser, http: Request) -> Detected:
        """Makes control maps of pictures."""
        log_ignored_fields(http.url.path, list_unknown_fields(body))
        thresholds = body.controlnet_threshold_a, body.controlnet_threshold_b
        preprocessor = find_preprocessor(body.controlnet_module, *thresholds, "controlnet_", "module")
        if not body.controlnet_input_images:
            raise InvalidRequest("controlnet_input_images", "must hold at least one picture")
        maps = []
        for picture in body.controlnet_input_images:
            image_id = await store_control_map(
                service, picture, preprocessor, user, "controlnet_input_images", "controlnet_module"
            )
            file = await service.get_input_path(image_id, user)
            maps.append(encode_base64(await asyncio.to_thread(file.read_bytes)))
        return Detected(images=tuple(maps))

    return router


async def list_ids(service: Service) -> Sequence[str]:
    list_adapters = service.model_manager.list_adapters
    controlnets, ip_adapters = [await asyncio.to_thread(list_adapters, kind) for kind in KINDS]
    return [info.id for info in (*controlnets, *ip_adapters)]
