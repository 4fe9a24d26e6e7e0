"""The doors of OpenAI's image API, and of the links to pictures in its answers. They share the prefix /v1 with REST."""

from __future__ import annotations

from imagegen.api.door import Door
from imagegen.api.openai.errors import format_openai_error
from imagegen.api.openai.link_routes import create_link_router
from imagegen.api.openai.picture_links import LINKS_PATH, PictureLinks
from imagegen.api.openai.routes import create_openai_router
from imagegen.service import Service


def create_openai_door(service: Service, links: PictureLinks) -> Door:
    return Door(
        name="openai",
        format_error=format_openai_error,
        router=create_openai_router(service, links),
        prefixes=("/v1/images/generations", "/v1/images/edits", "/v1/images/variations", "/v1/models"),
        text_paths=("/v1/models",),
    )


def create_picture_links_door(service: Service, links: PictureLinks) -> Door:
    """The signature of a link takes the place of credentials."""
    return Door(
        name="picture links",
        format_error=format_openai_error,
        router=create_link_router(service, links),
        prefixes=(LINKS_PATH,),
        sign_in="none",
    )
