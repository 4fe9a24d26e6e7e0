"""`python -m bench.images`: ways to write a picture into a file, beside Pillow's default.

Milliseconds of the median round, also of processor time alone, and the size, on pictures made up to be like photographs
and on some that the embedded model drew. First, each way that promises to lose nothing is seen to keep every pixel.
"""

from __future__ import annotations

import json
import re
import statistics
import time
import zlib
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, features

from bench.timing import command, interleaved, processors, write
from imagegen.png import PAETH, SIGNATURE, Bytes, chunk, encoded, paeth
from imagegen.settings import ASSETS

Way = Callable[[Image.Image], bytes]
DEFAULT = "Pillow, level 6, its default"
OURS = "imagegen.png"
STRATEGIES = {
    "default": zlib.Z_DEFAULT_STRATEGY,
    "filtered": zlib.Z_FILTERED,
    "huffman": zlib.Z_HUFFMAN_ONLY,
    "runs": zlib.Z_RLE,
    "fixed": zlib.Z_FIXED,
}
SUB, UP = 1, 2
FILTERS = {"Sub": SUB, "Up": UP, "Paeth": PAETH}
ROUNDS = 5


def main() -> None:
    ways = lossless()
    lossy: dict[str, Way] = {f"{kind}, quality 90": partial(saved, kind=kind, quality=90) for kind in ("WEBP", "JPEG")}
    report = {
        "command": command(),
        "machine": f"{processors()}, 1 thread used",
        "pillow": f"{features.version('pil')}, zlib-ng {features.version('zlib_ng')}",
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "pictures": {name: measured(image, ways, lossy) for name, image in pictures().items()},
    }
    # A way a line.
    text = re.sub(r"(?<=,)\n {4}", " ", json.dumps(report, indent=1))
    text = re.sub(r"\n {4}|\n {3}(?=})", "", text)
    write("images", text)


def lossless() -> dict[str, Way]:
    ways: dict[str, Way] = {DEFAULT: partial(saved, kind="PNG")}
    for level in (1, 2, 3, 4):
        ways[f"Pillow, level {level}"] = partial(saved, kind="PNG", compress_level=level)
    for level in (1, 4):
        for name, strategy in STRATEGIES.items():
            way = partial(saved, kind="PNG", compress_level=level, compress_type=strategy)
            ways[f"Pillow, level {level}, {name}"] = way
    for number, kind in FILTERS.items():
        for name, strategy in STRATEGIES.items():
            ways[f"numpy, {number}, level 1, {name}"] = partial(by_hand, kind=kind, strategy=strategy)
    return ways | {OURS: encoded, "WEBP, lossless": partial(saved, kind="WEBP", lossless=True)}


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def by_hand(image: Image.Image, kind: int, strategy: int) -> bytes:
    """One filter for the whole picture at once, then zlib."""
    header = np.array([*image.size], ">u4").tobytes() + bytes([8, 2, 0, 0, 0])
    packer = zlib.compressobj(level=1, strategy=strategy)
    packed = packer.compress(filtered(np.asarray(image), kind).data) + packer.flush()
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def filtered(pixels: Bytes, kind: int) -> Bytes:
    padded = np.pad(pixels, ((1, 0), (1, 0), (0, 0)))
    left, above, corner = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    estimate = left if kind == SUB else above if kind == UP else paeth(left, above, corner)
    rows = (pixels - estimate).reshape(len(pixels), -1)
    return np.insert(rows, 0, kind, axis=1)


def measured(image: Image.Image, ways: dict[str, Way], lossy: dict[str, Way]) -> dict[str, dict[str, float]]:
    for name, way in ways.items():
        with Image.open(BytesIO(way(image))) as again:
            assert again.tobytes() == image.tobytes(), name
    busy: dict[str, list[float]] = {name: [] for name in ways | lossy}

    def timed(name: str, way: Way) -> None:
        began = time.thread_time()
        way(image)
        busy[name].append(time.thread_time() - began)

    everything = ways | lossy
    seconds = interleaved({name: partial(timed, name, way) for name, way in everything.items()}, ROUNDS)
    sizes = {name: len(way(image)) for name, way in everything.items()}
    return {
        name: {
            "ms": round(seconds[name] * 1000, 1),
            "processor_ms": round(statistics.median(busy[name][1:]) * 1000, 1),
            "KiB": round(sizes[name] / 1024),
            "time": round(seconds[name] / seconds[DEFAULT], 3),
            "size": round(sizes[name] / sizes[DEFAULT], 3),
        }
        for name in everything
    }


def pictures() -> dict[str, Image.Image]:
    made_up = {f"made up, {side}x{side}": photograph(side) for side in (512, 1024, 2048)}
    with Image.open(ASSETS / "models" / "embedded" / "contact-sheet.png") as sheet:
        return made_up | {f"drawn, {sheet.width}x{sheet.height}": sheet.convert("RGB")}


def photograph(side: int) -> Image.Image:
    """Light that falls off, detail at all scales, the grain of a sensor, hard edges, and a part without any detail."""
    random = np.random.default_rng(side)
    y, x = np.mgrid[:side, :side] / side
    values = np.stack([110 + 90 * y, 100 + 60 * x, 150 - 70 * y], -1)
    cells = 4
    while cells <= side:
        octave = Image.fromarray(random.standard_normal((cells, cells), np.float32))
        detail = np.asarray(octave.resize((side, side), Image.Resampling.BICUBIC)) * 50 * (4 / cells) ** 0.9
        values += detail[..., None] * (1.0, 0.9, 0.8)
        cells *= 2
    values += random.normal(0, 0.7, values.shape)
    image = Image.fromarray(values.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for number, color in enumerate(("white", "darkred", "black")):
        corner = side * (0.1 + 0.25 * number)
        draw.ellipse((corner, corner, corner + side * 0.2, corner + side * 0.15), fill=color)
    draw.rectangle((side * 0.7, 0, side, side * 0.2), fill="skyblue")
    return image


if __name__ == "__main__":
    main()
