"""Writes picture files with metadata, as other tools do: text chunks, Exif in both byte orders, XMP, alpha channels."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Mapping
from io import BytesIO
from typing import Any, Literal

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

USER_COMMENT, EXIF_POINTER, BYTES, TEXT, LONG = 0x9286, 0x8769, 7, 2, 4
MAKE, MODEL, SOFTWARE = 0x010F, 0x0110, 0x0131
XMP_TEMPLATE = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/">
<exif:UserComment><rdf:Alt><rdf:li xml:lang="x-default">{comment}</rdf:li></rdf:Alt></exif:UserComment>
<xmp:CreatorTool>{tool}</xmp:CreatorTool></rdf:Description></rdf:RDF></x:xmpmeta>"""


def save(image: Image.Image, image_format: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format=image_format, **options)
    return buffer.getvalue()


def write_png(texts: Mapping[str, object], compressed: bool = False, exif: bytes = b"") -> bytes:
    """Returns a PNG file with text chunks. Objects are written as JSON."""
    info = PngInfo()
    for name, value in texts.items():
        text = value if isinstance(value, str) else json.dumps(value)
        if name == "XML:com.adobe.xmp":
            info.add_itxt(name, text)
        elif text.isascii():
            info.add_text(name, text, zip=compressed)
        else:
            info.add_itxt(name, text, zip=compressed)
    return save(Image.new("RGB", (16, 16)), "PNG", pnginfo=info, exif=exif)


def write_with_comment(
    image_format: Literal["JPEG", "WEBP", "PNG"],
    text: object,
    encoding: Literal["utf-16-be", "utf-16-le", "utf-8"] = "utf-16-be",
    prefix: bytes = b"UNICODE\0",
    little_endian: bool = False,
) -> bytes:
    """Returns a file with a UserComment in Exif."""
    comment = prefix + (text if isinstance(text, str) else json.dumps(text)).encode(encoding)
    exif = build_exif({}, {USER_COMMENT: (BYTES, comment)}, little_endian)
    return save(Image.new("RGB", (16, 16)), image_format, exif=exif)


def write_with_exif_texts(image_format: str, texts: Mapping[int, str]) -> bytes:
    """Returns a file with texts in the first block of Exif."""
    entries = {tag: (TEXT, text.encode() + b"\0") for tag, text in texts.items()}
    return save(Image.new("RGB", (16, 16)), image_format, exif=build_exif(entries, {}, little_endian=False))


def build_exif(
    first: Mapping[int, tuple[int, bytes]], second: Mapping[int, tuple[int, bytes]], little_endian: bool
) -> bytes:
    """Returns an Exif block: texts in its first directory, and a second one that the first points to."""
    order = "<" if little_endian else ">"
    count = len(first) + (1 if second else 0)
    offset = 8 + 2 + 12 * count + 4
    head, data = b"", b""
    for tag, (kind, value) in sorted(first.items()):
        head += struct.pack(f"{order}HHII", tag, kind, len(value), offset + len(data))
        data += value
    if second:
        head += struct.pack(f"{order}HHII", EXIF_POINTER, LONG, 1, offset + len(data))
    block = struct.pack(f"{order}H", count) + head + bytes(4) + data
    start = 8 + len(block) + 2 + 12 * len(second) + 4
    entries, values = b"", b""
    for tag, (kind, value) in sorted(second.items()):
        entries += struct.pack(f"{order}HHII", tag, kind, len(value), start + len(values))
        values += value
    directory = struct.pack(f"{order}H", len(second)) + entries + bytes(4) + values if second else b""
    mark = b"II" if little_endian else b"MM"
    return b"Exif\0\0" + mark + struct.pack(f"{order}HI", 42, 8) + block + directory


def build_xmp(comment: object, tool: str) -> str:
    text = json.dumps(comment).replace("&", "&amp;").replace("<", "&lt;")
    return XMP_TEMPLATE.format(comment=text, tool=tool)


def write_stealth_png(value: object, signature: bytes = b"stealth_pngcomp", bit_count: int | None = None) -> bytes:
    """Returns a PNG file with a text in the lowest bits of its alpha channel, column by column.

    `bit_count` is the length that it says, by default the true one.
    """
    text = json.dumps(value).encode()
    content = gzip.compress(text) if signature.endswith(b"comp") else text
    length = (8 * len(content) if bit_count is None else bit_count).to_bytes(4, "big")
    bits = np.unpackbits(np.frombuffer(signature + length + content, np.uint8))
    height, width = 64, -(-len(bits) // 64) + 8
    alpha = np.full((width, height), 254, np.uint8)
    alpha.reshape(-1)[: len(bits)] |= bits
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[..., 3] = alpha.T
    return save(Image.fromarray(pixels, "RGBA"), "PNG")
