"""REST under /v1/users: administrators see, export and purge what users have."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response, StreamingResponse

from imagegen.access.sessions import SessionStore
from imagegen.api.middleware.gradio_ownership import FileAccess
from imagegen.api.rest.dependencies import CurrentUser
from imagegen.api.rest.openapi import REST_ERROR_RESPONSES
from imagegen.schema.base import FrozenModel
from imagegen.schema.users import PurgedUser, UserUse
from imagegen.service import Service

ZIP_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}
}
ZIP_HEADERS = {"Content-Disposition": 'attachment; filename="user.zip"'}


class UserList(FrozenModel):
    users: tuple[UserUse, ...]


class PurgeAnswer(PurgedUser):
    sessions: int = Field(description="Browser sessions, which have ended.")
    uploads: int = Field(description="Files that were uploaded to the page in the last day and not used yet.")


def create_users_router(service: Service, sessions: SessionStore, file_access: FileAccess) -> APIRouter:
    """Returns routes for administrators. Without sign-in there is no administrator of users."""
    router = APIRouter(prefix="/v1", tags=["Users"], responses=REST_ERROR_RESPONSES)

    @router.get("/users")
    async def list_users(user: CurrentUser) -> UserList:
        """Returns the users that have data, with what they have. Only for administrators."""
        return UserList(users=tuple(await service.users.list_uses(user)))

    @router.get("/users/{user_id:path}/export", response_class=StreamingResponse, responses=ZIP_CONTENT)
    async def export(user_id: str, user: CurrentUser) -> Response:
        """Returns all that a user has as a zip archive: `pictures/`, `inputs/`, and `user.json` with their jobs,
        receipts and albums. Only for administrators.
        """
        parts = await service.users.export(user_id, user)
        return StreamingResponse(parts, media_type="application/zip", headers=ZIP_HEADERS)

    @router.delete("/users/{user_id:path}")
    async def purge(user_id: str, user: CurrentUser) -> PurgeAnswer:
        """Ends the jobs and the sessions of a user, and removes all that they have from the database and the disk.

        It cannot be undone, and does not take away their access. Only for administrators.
        """
        purged = await service.users.purge(user_id, user)
        return PurgeAnswer(
            **purged.model_dump(),
            sessions=await sessions.delete_all(user_id),
            uploads=await file_access.delete_uploads(user_id),
        )

    return router
