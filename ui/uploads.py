"""Pictures that people bring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from imagegen.api.pictures import stored
from imagegen.errors import InvalidRequest, UnknownPicture
from imagegen.schema import User
from imagegen.service import Service


async def stored_upload(service: Service, file: Any, user: User) -> str:
    """The id under which a picture is stored: one that was uploaded, one of the user's own, or one in base64.

    Raises InvalidRequest. A program can name any path as its upload, and Gradio looks only at what is marked as a file.
    """
    match file:
        case None:
            raise InvalidRequest("init_image", "is required")
        case {"path": str(path)}:
            return await stored_file(service, Path(path), user)
        case {"data": str(text)}:
            return await stored(service, text, user)
        case _:
            raise InvalidRequest("init_image", "must be an uploaded file")


async def stored_file(service: Service, file: Path, user: User) -> str:
    try:
        if file.parent == service.images.inputs:
            service.input(file.stem, user)
            return file.stem
        if file.parent == service.images.pictures:
            return await service.add_input(service.picture(file.stem, user), user)
    except UnknownPicture:
        raise InvalidRequest("init_image", "is not known here") from None
    if not is_upload(file):
        raise InvalidRequest("init_image", "must be an uploaded file")
    return await service.add_input(file, user)


def is_upload(file: Path) -> bool:
    try:
        file = file.resolve()
        return file.is_file() and file.is_relative_to(Path(get_upload_folder()).resolve())
    except (OSError, ValueError):
        return False
