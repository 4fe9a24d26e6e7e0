"""PNG files contain exactly the picture's pixels, for Pillow and by the standard."""

import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import product

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from imagegen.media.png import ROWS_PER_BLOCK, encode_png, predict_paeth


def noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(values)


def slopes(width: int, height: int) -> Image.Image:
    """Returns smooth pictures, and some with values at which filters overflow."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 3 + y, 255 - x, (x ^ y) * 255], -1).astype(np.uint8))


def read(content: bytes) -> Image.Image:
    with Image.open(BytesIO(content)) as image:
        image.verify()
    with Image.open(BytesIO(content)) as image:
        assert image.format == "PNG"
        image.load()
        return image


SIZES = [
    (1, 1),
    (3, 5),
    (5, 3),
    (1, 70),
    (70, 1),
    (64, 64),
    (33, ROWS_PER_BLOCK),
    (33, ROWS_PER_BLOCK + 1),
    (33, 2 * ROWS_PER_BLOCK - 1),
]


@pytest.mark.parametrize("drawn", [noise, slopes])
@pytest.mark.parametrize("size", SIZES)
def test_every_pixel_comes_back(drawn: Callable[[int, int], Image.Image], size: tuple[int, int]) -> None:
    image = drawn(*size)
    again = read(encode_png(image))
    assert (again.mode, again.size, again.tobytes()) == ("RGB", size, image.tobytes())


def test_the_estimate_is_the_standards_for_all_neighbours() -> None:
    values = np.array(list(product((0, 1, 2, 3, 100, 127, 128, 129, 253, 254, 255), repeat=3)), np.uint8)
    expected = [nearest(*(int(value) for value in three)) for three in values]
    assert predict_paeth(values[:, 0], values[:, 1], values[:, 2]).tolist() == expected


def nearest(left: int, above: int, corner: int) -> int:
    return min((left, above, corner), key=lambda value: abs(left + above - corner - value))


def test_texts_are_written_before_the_pixels() -> None:
    info = PngInfo()
    info.add_text("plain", "Steps: 20")
    info.add_itxt("parameters", "Ein Kreis 🔴\nNegative prompt: blur")
    info.add_text("long", "words " * 1000, zip=True)
    content = encode_png(noise(8, 8), info)
    expected = {"plain": "Steps: 20", "parameters": "Ein Kreis 🔴\nNegative prompt: blur", "long": "words " * 1000}
    assert read(content).info == expected
    assert list_chunk_types(content) == [b"IHDR", b"tEXt", b"iTXt", b"zTXt", b"IDAT", b"IEND"]


def list_chunk_types(content: bytes) -> list[bytes]:
    found, place = list[bytes](), 8
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        body, check = content[place + 4 : place + 8 + length], content[place + 8 + length : place + 12 + length]
        assert zlib.crc32(body) == int.from_bytes(check)
        found.append(body[:4])
        place += length + 12
    return found


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("size", SIZES)
def test_grey_and_alpha_channels_come_back(mode: str, size: tuple[int, int]) -> None:
    width, height = size
    depth = len(mode)
    image = Image.frombytes(mode, size, noise(width * depth, height).convert("L").tobytes())
    again = read(encode_png(image))
    assert (again.mode, again.size, again.tobytes()) == (mode, size, image.tobytes())


@pytest.mark.parametrize("mode", ["P", "1", "I;16", "CMYK"])
def test_other_modes_are_refused(mode: str) -> None:
    with pytest.raises(ValueError, match=f"a picture in {mode} instead of L, LA, RGB, RGBA"):
        encode_png(Image.new(mode, (4, 4)))


def test_several_threads_do_not_mix_their_pictures() -> None:
    images = [noise(100 + number, 90) for number in range(16)]
    with ThreadPoolExecutor(4) as pool:
        for image, content in zip(images, pool.map(encode_png, images), strict=True):
            assert read(content).tobytes() == image.tobytes()


def test_it_is_not_much_larger_than_pillows() -> None:
    image = noise(16, 16).resize((256, 256), Image.Resampling.BICUBIC)
    buffer = BytesIO()
    image.save(buffer, format="PNG")
    assert len(encode_png(image)) < 1.2 * len(buffer.getvalue())
