"""`python -m bench.images`: encoders for picture files, compared with Pillow's default.

Measures milliseconds of the median round, processor time alone, and file size, on synthetic pictures with the
statistics of photographs and on pictures of the embedded model. Lossless encoders are first checked to keep all pixels.
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

from bench.timing import describe_processors, get_command_line, time_interleaved, write_result
from imagegen.media.png import PAETH_FILTER, PNG_SIGNATURE, ByteArray, build_chunk, encode_png, predict_paeth
from imagegen.settings import ASSETS_DIR

Encoder = Callable[[Image.Image], bytes]
DEFAULT = "Pillow, level 6, its default"
OURS = "imagegen.media.png"
STRATEGIES = {
    "default": zlib.Z_DEFAULT_STRATEGY,
    "filtered": zlib.Z_FILTERED,
    "huffman": zlib.Z_HUFFMAN_ONLY,
    "runs": zlib.Z_RLE,
    "fixed": zlib.Z_FIXED,
}
SUB, UP = 1, 2
FILTERS = {"Sub": SUB, "Up": UP, "Paeth": PAETH_FILTER}
ROUNDS = 5


def main() -> None:
    encoders = lossless()
    lossy: dict[str, Encoder] = {
        f"{kind}, quality 90": partial(save_with_pillow, kind=kind, quality=90) for kind in ("WEBP", "JPEG")
    }
    report = {
        "command": get_command_line(),
        "machine": f"{describe_processors()}, 1 thread used",
        "pillow": f"{features.version('pil')}, zlib-ng {features.version('zlib_ng')}",
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "pictures": {name: measure_encoders(image, encoders, lossy) for name, image in pictures().items()},
    }
    # One encoder per line.
    text = re.sub(r"(?<=,)\n {4}", " ", json.dumps(report, indent=1))
    text = re.sub(r"\n {4}|\n {3}(?=})", "", text)
    write_result("images", text)


def lossless() -> dict[str, Encoder]:
    encoders: dict[str, Encoder] = {DEFAULT: partial(save_with_pillow, kind="PNG")}
    for level in (1, 2, 3, 4):
        encoders[f"Pillow, level {level}"] = partial(save_with_pillow, kind="PNG", compress_level=level)
    for level in (1, 4):
        for name, strategy in STRATEGIES.items():
            encoder = partial(save_with_pillow, kind="PNG", compress_level=level, compress_type=strategy)
            encoders[f"Pillow, level {level}, {name}"] = encoder
    for number, kind in FILTERS.items():
        for name, strategy in STRATEGIES.items():
            encoders[f"numpy, {number}, level 1, {name}"] = partial(encode_by_hand, kind=kind, strategy=strategy)
    return encoders | {OURS: encode_png, "WEBP, lossless": partial(save_with_pillow, kind="WEBP", lossless=True)}


def save_with_pillow(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def encode_by_hand(image: Image.Image, kind: int, strategy: int) -> bytes:
    """Applies one filter to the whole picture at once, then zlib."""
    header = np.array([*image.size], ">u4").tobytes() + bytes([8, 2, 0, 0, 0])
    packer = zlib.compressobj(level=1, strategy=strategy)
    packed = packer.compress(apply_filter(np.asarray(image), kind).data) + packer.flush()
    return PNG_SIGNATURE + build_chunk(b"IHDR", header) + build_chunk(b"IDAT", packed) + build_chunk(b"IEND", b"")


def apply_filter(pixels: ByteArray, kind: int) -> ByteArray:
    padded = np.pad(pixels, ((1, 0), (1, 0), (0, 0)))
    left, above, corner = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    estimate = left if kind == SUB else above if kind == UP else predict_paeth(left, above, corner)
    rows = (pixels - estimate).reshape(len(pixels), -1)
    return np.insert(rows, 0, kind, axis=1)


def measure_encoders(
    image: Image.Image, encoders: dict[str, Encoder], lossy: dict[str, Encoder]
) -> dict[str, dict[str, float]]:
    for name, encoder in encoders.items():
        with Image.open(BytesIO(encoder(image))) as again:
            assert again.tobytes() == image.tobytes(), name
    busy: dict[str, list[float]] = {name: [] for name in encoders | lossy}

    def measure_once(name: str, encoder: Encoder) -> None:
        began = time.thread_time()
        encoder(image)
        busy[name].append(time.thread_time() - began)

    all_encoders = encoders | lossy
    seconds = time_interleaved(
        {name: partial(measure_once, name, encoder) for name, encoder in all_encoders.items()}, ROUNDS
    )
    sizes = {name: len(encoder(image)) for name, encoder in all_encoders.items()}
    return {
        name: {
            "ms": round(seconds[name] * 1000, 1),
            "processor_ms": round(statistics.median(busy[name][1:]) * 1000, 1),
            "KiB": round(sizes[name] / 1024),
            "time": round(seconds[name] / seconds[DEFAULT], 3),
            "size": round(sizes[name] / sizes[DEFAULT], 3),
        }
        for name in all_encoders
    }


def pictures() -> dict[str, Image.Image]:
    synthetic = {f"made up, {side}x{side}": synthesize_photograph(side) for side in (512, 1024, 2048)}
    with Image.open(ASSETS_DIR / "models" / "embedded" / "contact-sheet.png") as sheet:
        return synthetic | {f"drawn, {sheet.width}x{sheet.height}": sheet.convert("RGB")}


def synthesize_photograph(side: int) -> Image.Image:
    """Returns a picture with gradients, detail at all scales, sensor noise, hard edges, and a flat area."""
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
