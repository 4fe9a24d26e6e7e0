"""Pictures in base64."""

from __future__ import annotations

import base64
import binascii
import re

from imagegen.errors import InvalidRequest

DATA_URI_PATTERN = re.compile(r"\s*data:[^,]{0,200};\s*base64\s*,", re.IGNORECASE)


def decode_base64_image(text: str, field: str) -> bytes:
    """Returns the file that is in base64, or in a data URI. Raises InvalidRequest for the field.

    Whitespace may be anywhere, as encoders put line ends into long texts. The padding at the end may be missing.
    """
    data_uri = DATA_URI_PATTERN.match(text)
    encoded = "".join(text[data_uri.end() if data_uri else 0 :].split()).rstrip("=")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(field, "must be a picture in base64, or the id of one of yours") from None


def encode_base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
