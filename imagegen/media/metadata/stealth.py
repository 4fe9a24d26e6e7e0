"""Texts in the lowest bits of a picture's alpha channel ("stealth pnginfo"), as NovelAI and others write them."""

from __future__ import annotations

import zlib

import numpy as np
from PIL import Image

PLAIN, COMPRESSED = b"stealth_pnginfo", b"stealth_pngcomp"
LENGTH_BYTES = 4
GZIP_WINDOW = 31


def read_stealth_text(image: Image.Image, max_bytes: int) -> str:
    """Returns the text; "" if there is none, or if it is damaged or longer than `max_bytes`.

    The bits run down the columns of the alpha channel: a signature, the number of bits that follow, and the text.
    """
    if image.mode != "RGBA":
        return ""
    alpha = np.asarray(image.getchannel("A"))
    header = read_bytes(alpha, 0, len(PLAIN) + LENGTH_BYTES)
    signature = header[: len(PLAIN)]
    if signature not in (PLAIN, COMPRESSED):
        return ""
    size = int.from_bytes(header[len(PLAIN) :], "big") // 8
    if size > max_bytes:
        return ""
    content = read_bytes(alpha, len(header), size)
    if signature == COMPRESSED:
        try:
            content = zlib.decompressobj(GZIP_WINDOW).decompress(content, max_bytes)
        except zlib.error:
            return ""
    return content.decode("utf-8", "replace")


def read_bytes(alpha: np.ndarray, start: int, count: int) -> bytes:
    """Returns bytes from the lowest bits of the columns; fewer if the picture ends before."""
    height = alpha.shape[0]
    first, last = 8 * start // height, -(-8 * (start + count) // height)
    bits = (alpha[:, first:last] & 1).T.reshape(-1)
    offset = 8 * start - first * height
    return np.packbits(bits[offset : offset + 8 * count]).tobytes()
