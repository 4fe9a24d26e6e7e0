"""The door of AUTOMATIC1111's API. Its clients can only send a token as the password of HTTP Basic."""

from __future__ import annotations

from fastapi import APIRouter

from imagegen.api.a1111.errors import format_a1111_error
from imagegen.api.a1111.routes import create_a1111_router, create_controlnet_extension_router
from imagegen.api.door import DEFAULT_CREDENTIALS, Door
from imagegen.service import Service


def create_a1111_door(service: Service) -> Door:
    router = APIRouter()
    for create in (create_a1111_router, create_controlnet_extension_router):
        router.routes.extend(create(service).routes)
    return Door(
        name="a1111",
        format_error=format_a1111_error,
        router=router,
        prefixes=("/sdapi", "/controlnet"),
        text_paths=("/sdapi/v1/options",),
        credentials=DEFAULT_CREDENTIALS | {"basic"},
    )
