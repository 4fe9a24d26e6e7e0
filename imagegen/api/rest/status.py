"""`GET /v1/status`: the version, the workers and the models in memory."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from imagegen.api.rest.dependencies import CurrentUser
from imagegen.api.rest.openapi import REST_ERROR_RESPONSES
from imagegen.schema.base import FrozenModel, User
from imagegen.schema.pictures import LibraryUse
from imagegen.service import Service
from imagegen.version import VERSION


class WorkerAnswer(FrozenModel):
    name: str = Field(description="The device of the worker, as in the setting `device`.")
    state: str = Field(description="`warming up`, `ready` or `unavailable`.")
    models: tuple[str, ...] = Field(description="Ids of the models in its memory; the one used last is at the end.")


class StatusAnswer(FrozenModel):
    version: str = Field(description="The version of the studio.")
    state: str = Field(description="`ready` if a job can start now, otherwise `warming up` or `unavailable`.")
    default_model: str = Field(description="Id of the model for requests that name none.")
    is_administrator: bool = Field(description="Whether you may download and delete models, LoRAs and other files.")
    workers: tuple[WorkerAnswer, ...]
    library: LibraryUse = Field(description="Your own pictures, and the disk space that they use.")
    all_libraries: LibraryUse = Field(description="The pictures of all users.")


def create_status_router(service: Service) -> APIRouter:
    """Returns the router of `GET /v1/status`."""
    router = APIRouter(prefix="/v1", responses=REST_ERROR_RESPONSES)

    @router.get("/status", tags=["Status"])
    async def status(user: CurrentUser) -> StatusAnswer:
        """Returns the version of the studio, its workers, the models in their memory, and the use of the disk."""
        return await build_status(service, user)

    return router


async def build_status(service: Service, user: User) -> StatusAnswer:
    return StatusAnswer(
        version=VERSION,
        state=service.worker_state,
        default_model=service.model_manager.library.models.default_id,
        is_administrator=user.is_administrator,
        workers=tuple(
            WorkerAnswer(name=status.name, state=status.state, models=status.models)
            for status in service.workers.statuses.values()
        ),
        library=await service.pictures.get_use(user),
        all_libraries=await service.pictures.get_use(),
    )
