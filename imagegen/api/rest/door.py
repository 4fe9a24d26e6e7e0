"""The door of REST."""

from __future__ import annotations

from fastapi import APIRouter

from imagegen.access.sessions import SessionStore
from imagegen.api.door import Door
from imagegen.api.middleware.gradio_ownership import FileAccess
from imagegen.api.rest.errors import format_rest_error
from imagegen.api.rest.inputs import create_inputs_router
from imagegen.api.rest.library import create_library_router
from imagegen.api.rest.pictures import create_rest_router
from imagegen.api.rest.resources import create_resource_router
from imagegen.api.rest.status import create_status_router
from imagegen.api.rest.users import create_users_router
from imagegen.service import Service


def create_rest_door(service: Service, sessions: SessionStore, file_access: FileAccess) -> Door:
    """Its routes must be matched before those of OpenAI's door, whose model ids may be anything, such as "list"."""
    router = APIRouter()
    for create in (
        create_rest_router,
        create_library_router,
        create_inputs_router,
        create_resource_router,
        create_status_router,
    ):
        router.routes.extend(create(service).routes)
    router.routes.extend(create_users_router(service, sessions, file_access).routes)
    return Door(
        name="rest",
        format_error=format_rest_error,
        router=router,
        prefixes=("/v1",),
        text_paths=(
            *(f"/v1/{resource.name}s" for resource in service.resources.values()),
            *("/v1/tokens", "/v1/wildcards", "/v1/downloads", "/v1/refused_files", "/v1/pictures", "/v1/albums"),
            "/v1/users",
        ),
        paths=("/v1/models/list", "/v1/models/load", "/v1/models/picture", "/v1/models/unload"),
    )
