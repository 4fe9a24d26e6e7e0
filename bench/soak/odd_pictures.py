"""B3: pictures of all kinds, many of them damaged or hostile, as start images."""

from __future__ import annotations

import io
import struct
import time
import zlib
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bench.processes import resident_mb, sample_memory
from bench.soak.measurement import Measurement, at_most, exactly
from bench.soak.studio import SMALL, UNLIMITED, get_job, run_studio, wait_for_end, wait_until
from imagegen.media.base64_images import encode_base64

PASSES = 3
# Growth of the web process while it reads them, after the first pass, and from then on.
PEAK_MB, LEFT_MB, LEAK_MB = 150, 50, 10
SECONDS_EACH = 2
SIDE = 96
CALM_SECONDS = 2


def measure(scale: float) -> list[Measurement]:
    """`scale` changes nothing: all pictures are sent, three times."""
    pictures = {name: encode_base64(content) for name, content in create_pictures().items()}
    with TemporaryDirectory() as folder, run_studio(Path(folder), *UNLIMITED) as studio, studio.connect() as client:
        send(client, pictures["PNG RGB"])
        levels = [settle(studio.process.pid)]
        replies: list[tuple[str, int, float]] = []
        with sample_memory(studio.process.pid) as samples:
            for _ in range(PASSES):
                replies += [(name, *send(client, picture)) for name, picture in pictures.items()]
                levels.append(settle(studio.process.pid))
        status = studio.get_status("/readyz")
    statuses = Counter(status for _, status, _ in replies)
    slowest, _, seconds = max(replies, key=lambda reply: reply[2])
    counts = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    are_answers = all(status == 202 or 400 <= status < 500 for status in statuses)
    return [
        Measurement("B3", f"{len(pictures)} odd pictures, {PASSES} times: replies", counts, "202 or 4xx", are_answers),
        at_most("B3", f"slowest reply ({slowest})", seconds, SECONDS_EACH, "s"),
        at_most("B3", "memory of the web process: growth at most", max(samples) - levels[0], PEAK_MB, "MiB"),
        at_most("B3", "memory of the web process: left after the first time", levels[1] - levels[0], LEFT_MB, "MiB"),
        at_most("B3", "memory of the web process: growth from then on", levels[-1] - levels[1], LEAK_MB, "MiB"),
        exactly("B3", "/readyz afterwards", status, 200),
    ]


def send(client: httpx2.Client, picture: str) -> tuple[int, float]:
    """Returns the status of the reply and its seconds. A job that was accepted is waited for."""
    began = time.perf_counter()
    response = client.post("/v1/jobs", json={**SMALL, "steps": 1, "init_image": picture})
    seconds = time.perf_counter() - began
    if response.status_code == 202:
        job_id = response.json()["id"]
        wait_for_end(client, job_id)
        assert get_job(client, job_id)["state"] == "done"
    return response.status_code, seconds


def settle(pid: int) -> float:
    """Returns the resident memory in MiB when it has stopped changing."""
    last = [resident_mb(pid)]

    def is_calm() -> bool:
        time.sleep(CALM_SECONDS)
        last.append(resident_mb(pid))
        return abs(last[-1] - last[-2]) < 1

    wait_until(is_calm, 60)
    return last[-1]


def create_pictures() -> dict[str, bytes]:
    """Returns files by their names: sound ones in unusual formats, damaged ones, and ones that are no pictures."""
    return {**create_modes(), **create_formats(), **create_sizes(), **create_damaged(), **create_strangers()}


def draw(mode: str = "RGB", size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    across = np.linspace(0, 255, size[0], dtype=np.uint8)
    pixels = np.broadcast_to(across[None, :, None], (size[1], size[0], 4)).copy()
    return Image.fromarray(pixels, "RGBA").convert("RGB" if mode == "CMYK" else mode).convert(mode)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def create_modes() -> dict[str, bytes]:
    modes = {f"PNG {mode}": encode(draw(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")}
    deep = Image.fromarray(np.linspace(0, 65535, SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE))
    return {
        **modes,
        "PNG with a transparent palette entry": encode(draw("P"), "PNG", transparency=3),
        "PNG with a transparent colour": encode(draw(), "PNG", transparency=(1, 1, 1)),
        "PNG, 16 bits": encode(deep, "PNG"),
        "TIFF, 16 bits": encode(deep, "TIFF"),
        "TIFF, float": encode(draw("F"), "TIFF"),
        "TIFF, CMYK": encode(draw("CMYK"), "TIFF"),
        "JPEG, CMYK": encode(draw("CMYK"), "JPEG"),
        "JPEG, grey": encode(draw("L"), "JPEG"),
    }


def create_formats() -> dict[str, bytes]:
    frames = [draw(), draw().rotate(90)] * 20
    moving: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "duration": 40}
    exif = {number: Image.Exif() for number in range(9)}
    for number, tags in exif.items():
        tags[0x0112] = number
    return {
        "JPEG, progressive": encode(draw(), "JPEG", progressive=True),
        "WebP, lossy": encode(draw(), "WEBP"),
        "WebP, lossless with alpha": encode(draw("RGBA"), "WEBP", lossless=True),
        "WebP, animated": encode(frames[0], "WEBP", **moving),
        "GIF": encode(draw("P"), "GIF"),
        "GIF, animated": encode(frames[0], "GIF", **moving),
        "APNG": encode(frames[0], "PNG", **moving),
        "TIFF, several pages": encode(frames[0], "TIFF", save_all=True, append_images=frames[1:3]),
        "BMP": encode(draw(), "BMP"),
        "ICO": encode(draw("RGBA"), "ICO"),
        "PPM": encode(draw(), "PPM"),
        "TGA": encode(draw(), "TGA"),
        **{f"JPEG, orientation {number}": encode(draw(), "JPEG", exif=tags) for number, tags in exif.items()},
    }


def create_sizes() -> dict[str, bytes]:
    sizes = ((1, 1), (1, 4000), (4000, 1), (63, 65), (4096, 4096), (13000, 13000))
    return {f"PNG, {width} x {height}": encode(Image.new("1", (width, height)), "PNG") for width, height in sizes}


def create_damaged() -> dict[str, bytes]:
    png, jpeg, webp, gif = (encode(draw(), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF"))
    large_text = PngInfo()
    large_text.add_text("Comment", "a" * 8_000_000, zip=True)
    return {
        **{f"{name}, half": file[: len(file) // 2] for name, file in zip("PJWG", (png, jpeg, webp, gif), strict=True)},
        "PNG, its head alone": png[:33],
        "PNG, a wrong checksum": png[:29] + b"\0\0\0\0" + png[33:],
        "PNG, pixels that are no zlib": build_png(SIDE, SIDE, b"no zlib at all"),
        "PNG, too few pixels": build_png(SIDE, SIDE, zlib.compress(b"\0" * 100)),
        "PNG, no pixels": build_png(SIDE, SIDE, b""),
        "PNG that says it is huge": build_png(2**31 - 1, 2**31 - 1, zlib.compress(b"\0")),
        "PNG without a size": build_png(0, 0, zlib.compress(b"\0")),
        "PNG with a text that unpacks to 8 MB": encode(draw(), "PNG", pnginfo=large_text),
        "PNG with a broken colour profile": encode(draw(), "PNG", icc_profile=b"no profile"),
        "GIF that says it is huge": gif[:6] + b"\xff\xff\xff\xff" + gif[10:],
        "JPEG that says it is huge": set_jpeg_size(jpeg, 65535, 65535),
        "JPEG with a broken EXIF": encode(draw(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"),
    }


def create_strangers() -> dict[str, bytes]:
    png = encode(draw(), "PNG")
    svg = b"<svg xmlns='http://www.w3.org/2000/svg' width='99' height='99'><script>alert(1)</script></svg>"
    return {
        "PNG with a page behind it": png + b"<html><script>alert(1)</script></html>",
        "PNG with an archive behind it": png + b"PK\x03\x04" + b"\0" * 200,
        "a page": b"<html><script>alert(1)</script></html>",
        "SVG": svg,
        "SVG with an entity that grows": b"<!DOCTYPE s [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><svg>&b;</svg>",
        "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 200,
        "AVIF": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"\0" * 200,
        "PDF": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n(ls) run\n",
        "text": b"a red circle",
        "one byte": b"\x89",
        "zeros": b"\0" * 1_000_000,
    }


def build_png(width: int, height: int, pixels: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", pixels), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def set_jpeg_size(jpeg: bytes, width: int, height: int) -> bytes:
    """Returns the file with another size in its frame header."""
    start = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:start] + struct.pack(">HH", height, width) + jpeg[start + 4 :]
