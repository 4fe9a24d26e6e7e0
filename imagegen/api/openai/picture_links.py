"""Links to single pictures that need no sign-in and expire. They are signed with the session secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable

from imagegen.errors import InvalidLink, LinkExpired
from imagegen.media.outputs import ImageFormat

LINK_LIFETIME_SECONDS = 3600
LINKS_PATH = "/v1/images/signed"


class PictureLinks:
    """Signs and checks links. The path ends like a file, because other programs tell by that that it is a picture.

    `clock` returns the time in seconds since 1970.
    """

    def __init__(self, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = hmac.digest(secret, b"picture links", hashlib.sha256)
        self._clock = clock

    def build_path(self, picture_id: str, file_format: ImageFormat, quality: int) -> str:
        """Returns the path of a link to a picture in a format. `quality` is 1 to 100, of JPEG and WebP."""
        expires = int(self._clock()) + LINK_LIFETIME_SECONDS
        signature = self._sign(picture_id, file_format, quality, expires)
        query = f"quality={quality}&expires={expires}&signature={signature}"
        return f"{LINKS_PATH}/{picture_id}.{file_format}?{query}"

    def check(self, picture_id: str, file_format: ImageFormat, quality: int, expires: int, signature: str) -> int:
        """Returns how many seconds a link is still valid. Raises InvalidLink and LinkExpired."""
        expected = self._sign(picture_id, file_format, quality, expires)
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise InvalidLink
        seconds_left = expires - int(self._clock())
        if seconds_left <= 0:
            raise LinkExpired(picture_id)
        return seconds_left

    def _sign(self, picture_id: str, file_format: ImageFormat, quality: int, expires: int) -> str:
        message = f"{picture_id}.{file_format}?quality={quality}&expires={expires}"
        digest = hmac.digest(self._key, message.encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")
