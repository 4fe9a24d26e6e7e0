"""REST under /v1: the library of the user's own pictures."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import FileResponse, Response, StreamingResponse

from imagegen.api.rest.dependencies import IMMUTABLE_HEADERS, CurrentUser
from imagegen.api.rest.openapi import REST_ERROR_RESPONSES
from imagegen.media.outputs import ImageFormat
from imagegen.schema.base import FrozenModel
from imagegen.schema.pictures import (
    MAX_IDS,
    AlbumInfo,
    LibraryPicture,
    LibraryUsage,
    PictureChange,
    PictureId,
    PictureQuery,
)
from imagegen.schema.receipt import Receipt
from imagegen.service import Service

ZIP_HEADERS = {"Content-Disposition": 'attachment; filename="pictures.zip"'}


class PictureItem(FrozenModel):
    """`created` is in seconds since 1970. `url` is the picture, `thumbnail` a WebP file of at most 320 pixels."""

    id: str
    created: float
    favourite: bool
    albums: tuple[str, ...]
    url: str
    thumbnail: str
    job_id: str
    receipt: Receipt | None = Field(description="Null if another version of the studio wrote it in an unknown form.")


class PicturePage(FrozenModel):
    pictures: tuple[PictureItem, ...]
    next: str | None = Field(description="The value of `after` for the next page; null on the last.")


class AlbumList(FrozenModel):
    albums: tuple[AlbumInfo, ...]


class PictureDeleted(FrozenModel):
    id: str
    deleted: bool = True


class ZipRequest(FrozenModel):
    ids: tuple[PictureId, ...] = Field(min_length=1, max_length=MAX_IDS, description="The ids of the pictures.")
    format: ImageFormat = Field("png", description="PNG files are the originals.")


def create_library_router(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["Library"], responses=REST_ERROR_RESPONSES)
    library = service.pictures

    @router.get("/pictures")
    async def search(query: Annotated[PictureQuery, Query()], user: CurrentUser) -> PicturePage:
        """Returns your pictures, newest first, that pass all filters."""
        page = await library.search(query, user)
        return PicturePage(pictures=tuple(map(build_picture_item, page.pictures)), next=page.next)

    @router.get("/pictures/usage")
    async def usage(user: CurrentUser) -> LibraryUsage:
        """Returns how much of the disk your pictures use, and what bounds them."""
        return await library.get_usage(user)

    @router.get("/pictures/{picture_id}")
    async def show(picture_id: str, user: CurrentUser) -> PictureItem:
        """Returns a picture's facts, with its receipt."""
        return build_picture_item(await library.get(picture_id, user))

    @router.get(
        "/pictures/{picture_id}/thumbnail",
        response_class=FileResponse,
        responses={200: {"content": {"image/webp": {"schema": {"type": "string", "format": "binary"}}}}},
    )
    async def thumbnail(picture_id: str, user: CurrentUser) -> Response:
        """Returns a small version of a picture."""
        file = await library.get_thumbnail(picture_id, user)
        return FileResponse(file, media_type="image/webp", headers=IMMUTABLE_HEADERS)

    @router.patch("/pictures/{picture_id}")
    async def change(picture_id: str, body: PictureChange, user: CurrentUser) -> PictureItem:
        """Marks a picture as a favourite, puts it into albums, or brings it back within a minute of its deletion."""
        return build_picture_item(await library.change(picture_id, body, user))

    @router.delete("/pictures/{picture_id}")
    async def delete(picture_id: str, user: CurrentUser) -> PictureDeleted:
        """Deletes a picture. For a minute, PATCH with `deleted: false` brings it back."""
        await library.get(picture_id, user)
        await library.delete([picture_id], user)
        return PictureDeleted(id=picture_id)

    @router.post(
        "/pictures/zip",
        response_class=StreamingResponse,
        responses={200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}},
    )
    async def archive(body: ZipRequest, user: CurrentUser) -> Response:
        """Returns pictures as a zip archive."""
        parts = await library.zip(body.ids, user, body.format)
        return StreamingResponse(parts, media_type="application/zip", headers=ZIP_HEADERS)

    @router.get("/albums")
    async def albums(user: CurrentUser) -> AlbumList:
        """Returns your albums, with the number of their pictures. An album is there as long as it has a picture."""
        return AlbumList(albums=tuple(await library.list_albums(user)))

    return router


def build_picture_item(picture: LibraryPicture) -> PictureItem:
    return PictureItem(
        **dict(picture),
        url=f"/v1/images/{picture.id}",
        thumbnail=f"/v1/pictures/{picture.id}/thumbnail",
    )
