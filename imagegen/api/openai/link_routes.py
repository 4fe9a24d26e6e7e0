"""The route of signed links to pictures."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Response

from imagegen.api.openai.picture_links import LINKS_PATH, PictureLinks
from imagegen.api.openai.responses import OPENAI_ERROR_RESPONSES
from imagegen.api.rest.pictures import PICTURE_CONTENT
from imagegen.media.outputs import ImageFormat
from imagegen.service import Service


def create_link_router(service: Service, links: PictureLinks) -> APIRouter:
    router = APIRouter(prefix=LINKS_PATH, tags=["OpenAI"], responses=OPENAI_ERROR_RESPONSES)

    @router.get("/{picture_id}.{file_format}", response_class=Response, responses=PICTURE_CONTENT)
    async def picture(
        picture_id: str,
        file_format: ImageFormat,
        expires: Annotated[int, Query(description="The time of expiry, in seconds since 1970.")],
        signature: Annotated[str, Query(description="The studio's signature of all other parameters.")],
        quality: Annotated[int, Query(ge=1, le=100, description="Of JPEG and WebP.")] = 100,
    ) -> Response:
        """Returns the picture of a link, without sign-in, until the link expires."""
        seconds_left = links.check(picture_id, file_format, quality, expires, signature)
        content = await asyncio.to_thread(service.images.read_picture, picture_id, file_format, quality)
        headers = {"Cache-Control": f"private, max-age={seconds_left}, immutable"}
        return Response(content, media_type=f"image/{file_format}", headers=headers)

    return router
