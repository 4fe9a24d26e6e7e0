"""Pictures on the wire: in as base64, out as files in several formats."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path

from imagegen.errors import InvalidRequest, UnknownPicture, of_field
from imagegen.schema import User
from imagegen.service import Service

DATA_URI = re.compile(r"data:[\w/.+-]*;base64,")
PICTURE_ID = re.compile(r"[0-9a-f]{32}")
INPUT_ID = re.compile(r"[0-9a-f]{64}")


async def stored(service: Service, text: str, user: User, field: str = "init_image") -> str:
    """The id under which a picture is stored that came as base64, as a data URI, or as the id of one of the user's.

    Raises InvalidRequest.
    """
    with of_field(field):
        return await service.add_input(own_picture(service, text, user) or decoded(text), user)


def own_picture(service: Service, text: str, user: User) -> Path | None:
    """The file of one of the user's pictures, if the text is the id of one. Raises InvalidRequest."""
    try:
        if PICTURE_ID.fullmatch(text):
            return service.picture(text, user)
        return service.input(text, user) if INPUT_ID.fullmatch(text) else None
    except UnknownPicture:
        raise InvalidRequest("init_image", "is not known here") from None


def decoded(text: str) -> bytes:
    """Raises InvalidRequest."""
    head = DATA_URI.match(text)
    try:
        return base64.b64decode(text[head.end() :] if head else text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest("init_image", "must be a picture in base64, or the id of one of yours") from None
