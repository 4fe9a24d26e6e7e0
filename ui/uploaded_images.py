"""Stores the pictures that are uploaded to the page or passed to a Gradio endpoint."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from imagegen.errors import InvalidRequest, UnknownPicture
from imagegen.schema.base import User
from imagegen.schema.request import INPUT_IMAGES
from imagegen.sent_images import store_images
from imagegen.service import Service


async def store_uploads(service: Service, fields: dict[str, Any], user: User) -> dict[str, Any]:
    """Returns the fields of a request with the id of a stored picture for each input picture. Raises InvalidRequest."""
    for name in INPUT_IMAGES:
        if name in fields and fields[name] is None:
            raise InvalidRequest(name, "is required")
    return await store_images(fields, lambda file, place: store_upload(service, file, user, place))


async def store_upload(service: Service, file: Any, user: User, field: str) -> str:
    """Stores a picture for a field of the request, and returns its id.

    `file` is an upload, one of the user's own pictures, or text: a picture in base64, or the id of one of the user's. A
    program can name any path as its upload, and Gradio checks only values that are marked as files. Raises
    InvalidRequest.
    """
    match file:
        case {"path": str(path)}:
            return await store_uploaded_file(service, Path(path), user, field)
        case str(text) | {"data": str(text)}:
            return await service.add_encoded_input(text, user, field)
        case _:
            raise InvalidRequest(field, "must be an uploaded file")


async def store_uploaded_file(service: Service, file: Path, user: User, field: str) -> str:
    try:
        if file.parent == service.images.inputs_dir:
            return await service.reuse_input(file.stem, user, field)
        if file.parent == service.images.pictures_dir:
            return await service.add_input(await service.pictures.get_path(file.stem, user), user, field)
    except UnknownPicture:
        raise InvalidRequest(field, "is not known here") from None
    if not is_upload(file):
        raise InvalidRequest(field, "must be an uploaded file")
    return await service.add_input(file, user, field)


async def read_upload(service: Service, file: Any, user: User, field: str) -> bytes:
    """Returns the content of a picture file, which is not stored: an upload, or what `store_upload` takes as text.

    Raises InvalidRequest and TooManyRequests.
    """
    match file:
        case {"path": str(path)} if Path(path).parent == service.images.pictures_dir:
            return await service.read_encoded_picture(Path(path).stem, user, field)
        case {"path": str(path)} if is_upload(Path(path)):
            return await asyncio.to_thread(Path(path).read_bytes)
        case str(text) | {"data": str(text)}:
            return await service.read_encoded_picture(text, user, field)
        case _:
            raise InvalidRequest(field, "must be an uploaded file")


def is_upload(file: Path) -> bool:
    try:
        file = file.resolve()
        return file.is_file() and file.is_relative_to(Path(get_upload_folder()).resolve())
    except (OSError, ValueError):
        return False
