"""PNG in a fraction of the time that Pillow takes, at about the size; `python -m bench.images` measures both.

Pillow tries five filters on every row and searches the whole picture for repetitions. What pays for pictures is
Paeth's filter, here on many rows at once, and runs of the same byte. Both let other threads work meanwhile.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

Bytes = NDArray[np.uint8]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# So many rows, with what is computed on the way, lie in a processor's cache.
ROWS = 32
PAETH = 4


def encoded(image: Image.Image, info: PngInfo | None = None) -> bytes:
    """An RGB picture as a file, with its colour profile, and with the texts in `info` before the pixels."""
    if image.mode != "RGB":
        raise ValueError(f"a picture in {image.mode} instead of RGB")
    parts = [SIGNATURE, chunk(b"IHDR", struct.pack(">IIBBBBB", *image.size, 8, 2, 0, 0, 0))]
    if profile := image.info.get("icc_profile"):
        parts.append(chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile)))
    parts += [chunk(kind, content) for kind, content, _ in (info.chunks if info else ())]
    packer = zlib.compressobj(level=1, strategy=zlib.Z_RLE)
    packed = [packer.compress(rows.data) for rows in filtered(np.asarray(image))]
    return b"".join([*parts, chunk(b"IDAT", b"".join([*packed, packer.flush()])), chunk(b"IEND", b"")])


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


def filtered(pixels: Bytes) -> Iterator[Bytes]:
    """Some rows at a time: before each the filter's number, then how far each byte is from its estimate."""
    height, width, depth = pixels.shape
    padded = np.zeros((height + 1, (width + 1) * depth), np.uint8)
    padded[1:, depth:] = pixels.reshape(height, -1)
    for first in range(0, height, ROWS):
        rows, before = padded[first + 1 : first + 1 + ROWS], padded[first : min(first + ROWS, height)]
        result = np.full((len(rows), 1 + width * depth), PAETH, np.uint8)
        estimate = paeth(rows[:, :-depth], before[:, depth:], before[:, :-depth])
        np.subtract(rows[:, depth:], estimate, out=result[:, 1:])
        yield result


def paeth(left: Bytes, above: Bytes, corner: Bytes) -> Bytes:
    """Of the three, the nearest to `left + above - corner`, the first of equals: the standard's rule in bytes alone.

    `left` is as far from that as `above` is from the corner, and the other way round. The corner can be nearer than
    both only when it lies between them, and is then as far as these two distances differ.
    """
    of_left = np.maximum(above, corner) - np.minimum(above, corner)
    of_above = np.maximum(left, corner) - np.minimum(left, corner)
    least = np.minimum(of_left, of_above)
    between = (left > corner) != (above > corner)
    nearer = between & (np.maximum(of_left, of_above) - least < least)
    return chosen(nearer, corner, chosen(of_left <= of_above, left, above))


def chosen(when: NDArray[np.bool_], one: Bytes, other: Bytes) -> Bytes:
    """`np.where`, several times as fast on bytes."""
    return other ^ ((one ^ other) & -when.view(np.uint8))
