"""Finds the picture that an address of the studio names."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from imagegen.api.host_names import HostNames
from imagegen.api.middleware.path_prefix import get_path_prefix, strip_prefix
from imagegen.errors import InvalidRequest
from imagegen.settings import Settings

# A data URI has no "//".
URL_PATTERN = re.compile(r"\s*[a-z][a-z0-9+.-]*://", re.IGNORECASE)
PICTURE_PATH_PATTERN = re.compile(r"/v1/images/([0-9a-f]{32})")
NOT_OURS = "must be the address of one of your pictures here; the studio fetches no others"


class PictureUrls:
    """Reads addresses such as https://studio.example/v1/images/ID. Nothing is ever fetched."""

    def __init__(self, settings: Settings) -> None:
        self._host_names, self._prefix = HostNames(settings), get_path_prefix(settings)

    def replace_by_id(self, text: str, field: str) -> str:
        """Returns the id of the picture that an address of the studio names, and any other text unchanged.

        The address may be relative. Raises InvalidRequest for any other address.
        """
        if URL_PATTERN.match(text):
            return self._read_url(text, field)
        return self._read_path(text) or text

    def _read_url(self, text: str, field: str) -> str:
        try:
            parts = urlsplit(text.strip())
            is_ours = parts.scheme in ("http", "https") and self._host_names.is_known(parts.netloc)
        except ValueError:
            raise InvalidRequest(field, NOT_OURS) from None
        picture_id = self._read_path(parts.path) if is_ours else None
        if picture_id is None:
            raise InvalidRequest(field, NOT_OURS)
        return picture_id

    def _read_path(self, path: str) -> str | None:
        found = PICTURE_PATH_PATTERN.fullmatch(strip_prefix(path, self._prefix))
        return found[1] if found else None
