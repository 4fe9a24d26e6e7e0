"""Pictures that people bring."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from imagegen.errors import InvalidRequest
from imagegen.images import ImageStore


async def stored_upload(images: ImageStore, file: Any) -> str:
    """The id under which an uploaded picture is stored. Raises InvalidRequest.

    A program can name any path as its upload, and Gradio looks only at what is marked as a file.
    """
    match file:
        case None:
            raise InvalidRequest("init_image", "is required")
        case {"path": str(path)} if is_upload(path):
            return await asyncio.to_thread(images.add_input, Path(path))
        case _:
            raise InvalidRequest("init_image", "must be an uploaded file")


def is_upload(path: str) -> bool:
    try:
        file = Path(path).resolve()
        return file.is_file() and file.is_relative_to(Path(get_upload_folder()).resolve())
    except (OSError, ValueError):
        return False
