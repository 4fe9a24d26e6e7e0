"""A PNG encoder several times as fast as Pillow's, at about the same file size (measure with `python -m bench.images`).

Pillow tries five filters on each row and searches for repetitions. This one applies only Paeth's filter, to many rows
at once with numpy, and run-length encoding. Both release the GIL.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from imagegen.media.row_blocks import crop_rows

ByteArray = NDArray[np.uint8]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Rows filtered at once. They and the intermediate arrays fit in a processor's cache.
ROWS_PER_BLOCK = 32
PAETH_FILTER = 4
# The standard's numbers for Pillow's modes.
COLOUR_TYPES = {"L": 0, "LA": 4, "RGB": 2, "RGBA": 6}


def encode_png(image: Image.Image, info: PngInfo | None = None) -> bytes:
    """Returns a picture in L, LA, RGB or RGBA as a PNG file, with the texts in `info`.

    Raises ValueError for another mode.
    """
    if image.mode not in COLOUR_TYPES:
        raise ValueError(f"a picture in {image.mode} instead of {', '.join(COLOUR_TYPES)}")
    header = struct.pack(">IIBBBBB", *image.size, 8, COLOUR_TYPES[image.mode], 0, 0, 0)
    chunks = [PNG_SIGNATURE, build_chunk(b"IHDR", header)]
    chunks += [build_chunk(kind, content) for kind, content, _ in (info.chunks if info else ())]
    compressor = zlib.compressobj(level=1, strategy=zlib.Z_RLE)
    compressed = [compressor.compress(rows.data) for rows in filter_rows(image)]
    return b"".join(
        [*chunks, build_chunk(b"IDAT", b"".join([*compressed, compressor.flush()])), build_chunk(b"IEND", b"")]
    )


def build_chunk(chunk_type: bytes, content: bytes) -> bytes:
    """Returns a PNG chunk: length, type, content and checksum."""
    return (
        struct.pack(">I", len(content))
        + chunk_type
        + content
        + struct.pack(">I", zlib.crc32(content, zlib.crc32(chunk_type)))
    )


def filter_rows(image: Image.Image) -> Iterator[ByteArray]:
    """Yields blocks of filtered rows of a picture.

    Each row begins with the filter's number; each byte is the difference to its prediction.
    """
    width, depth = image.width, len(image.getbands())
    # Bytes to the left of a picture and above it are 0.
    row_above = np.zeros((width + 1) * depth, np.uint8)
    for block in crop_rows(image, ROWS_PER_BLOCK):
        padded = np.zeros((block.height + 1, (width + 1) * depth), np.uint8)
        padded[0] = row_above
        padded[1:, depth:] = np.asarray(block).reshape(block.height, -1)
        row_above = padded[-1]
        result = np.full((block.height, 1 + width * depth), PAETH_FILTER, np.uint8)
        estimate = predict_paeth(padded[1:, :-depth], padded[:-1, depth:], padded[:-1, :-depth])
        np.subtract(padded[1:, depth:], estimate, out=result[:, 1:])
        yield result


def predict_paeth(left: ByteArray, above: ByteArray, corner: ByteArray) -> ByteArray:
    """Predicts each byte: the one of the three nearest to `left + above - corner`, the first of equals.

    The rule of the standard (https://www.w3.org/TR/png-3/#9Filter-type-4-Paeth) without leaving bytes. The distance of
    `left` is `|above - corner|`, that of `above` is `|left - corner|`. The corner is nearer than both only if its value
    is between theirs; its distance is then the difference of the two distances.
    """
    left_distance = np.maximum(above, corner) - np.minimum(above, corner)
    above_distance = np.maximum(left, corner) - np.minimum(left, corner)
    min_distance = np.minimum(left_distance, above_distance)
    is_corner_between = (left > corner) != (above > corner)
    is_corner_nearest = is_corner_between & (np.maximum(left_distance, above_distance) - min_distance < min_distance)
    return select_bytes(is_corner_nearest, corner, select_bytes(left_distance <= above_distance, left, above))


def select_bytes(condition: NDArray[np.bool_], if_true: ByteArray, if_false: ByteArray) -> ByteArray:
    """Returns `np.where(condition, if_true, if_false)`, several times as fast for bytes."""
    return if_false ^ ((if_true ^ if_false) & -condition.view(np.uint8))
