"""Pictures that people bring are taken as they look, or refused in one line; finished ones keep their receipt."""

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagegen.errors import InvalidRequest
from imagegen.images import ImageStore, opened
from tests.doubles import receipt

RED, BLUE = (200, 30, 30), (30, 30, 200)


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "data")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "picture"


def taken(store: ImageStore, file: Path) -> Image.Image:
    with Image.open(store.input_path(store.add_input(file))) as image:
        assert image.mode == "RGB"
        return image.copy()


def halves(mode: str = "RGB") -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (64, 32), RED)
    image.paste(BLUE, (32, 0, 64, 32))
    return image.convert(mode)


def near(pixel: object, color: tuple[int, int, int], tolerance: int = 12) -> bool:
    return isinstance(pixel, tuple) and all(abs(a - b) <= tolerance for a, b in zip(pixel, color, strict=True))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_common_formats_are_taken(store: ImageStore, file: Path, kind: str) -> None:
    halves().save(file, format=kind)
    image = taken(store, file)
    assert image.size == (64, 32)
    assert near(image.getpixel((8, 16)), RED) and near(image.getpixel((56, 16)), BLUE)


def test_cmyk_keeps_its_colours(store: ImageStore, file: Path) -> None:
    halves("CMYK").save(file, format="JPEG", quality=95)
    assert near(taken(store, file).getpixel((8, 16)), RED)


def test_a_photograph_is_turned_upright(store: ImageStore, file: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    halves().save(file, format="JPEG", exif=exif)
    image = taken(store, file)
    assert image.size == (32, 64)
    assert near(image.getpixel((16, 8)), RED)


def test_sixteen_bits_become_eight(store: ImageStore, file: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 32, dtype=np.uint16).reshape(32, 64)
    Image.fromarray(ramp).save(file, format="PNG")
    image = taken(store, file)
    assert near(image.getpixel((0, 0)), (0, 0, 0)) and near(image.getpixel((63, 31)), (255, 255, 255))
    assert near(image.getpixel((32, 15)), (125, 125, 125))


def test_transparency_lies_on_white(store: ImageStore, file: Path) -> None:
    Image.new("RGBA", (16, 16), (200, 30, 30, 0)).save(file, format="PNG")
    assert taken(store, file).getpixel((8, 8)) == (255, 255, 255)


def test_of_an_animation_the_first_picture_is_taken(store: ImageStore, file: Path) -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in (RED, BLUE)]
    frames[0].save(file, format="GIF", save_all=True, append_images=frames[1:])
    assert near(taken(store, file).getpixel((8, 8)), RED)


def test_the_same_picture_has_the_same_name(store: ImageStore, file: Path) -> None:
    halves().save(file, format="PNG")
    first = store.add_input(file)
    halves().save(file, format="BMP")
    assert store.add_input(file) == first


def test_a_bomb_is_refused_before_it_is_unpacked(store: ImageStore, file: Path) -> None:
    file.write_bytes(png_header(50_000, 50_000))
    with pytest.raises(InvalidRequest, match=r"init_image: must have at most 16.8 million pixels"):
        store.add_input(file)


def test_a_huge_bomb_is_refused_too(store: ImageStore, file: Path) -> None:
    file.write_bytes(png_header(2**31 - 1, 2**31 - 1))
    with pytest.raises(InvalidRequest, match="^init_image: must "):
        store.add_input(file)


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n" + b"\x00" * 40, b"<svg></svg>"])
def test_what_is_no_picture_is_refused(store: ImageStore, file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(InvalidRequest, match="^init_image: must be a whole picture in one of PNG, JPEG"):
        store.add_input(file)


def test_half_a_file_is_refused(store: ImageStore, file: Path) -> None:
    halves().resize((640, 320)).save(file, format="PNG")
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(InvalidRequest, match="^init_image: must be a whole picture"):
        store.add_input(file)


def test_a_speck_is_refused(store: ImageStore, file: Path) -> None:
    Image.new("RGB", (1, 1)).save(file, format="PNG")
    with pytest.raises(InvalidRequest, match="init_image: must be at least 8 pixels wide and high"):
        store.add_input(file)


def test_nothing_is_left_of_a_refused_picture(store: ImageStore, file: Path) -> None:
    file.write_bytes(b"nothing")
    with pytest.raises(InvalidRequest):
        store.add_input(file)
    assert list(store.inputs.iterdir()) == []


def test_a_finished_picture_carries_its_receipt(store: ImageStore) -> None:
    picture = store.write(halves(), receipt(prompt="Ein Kreis 🔴", negative_prompt="blur", strength=0.5, clip_skip=1))
    with Image.open(store.path(picture.id)) as image:
        assert json.loads(image.info["receipt"]) == picture.receipt.model_dump(mode="json")
        assert image.info["parameters"].split("\n") == [
            "Ein Kreis 🔴",
            "Negative prompt: blur",
            "Steps: 20, Sampler: DPM++ 2M, CFG scale: 3, Seed: 7, Size: 128x128, Model: embedded, RNG: CPU, "
            "Denoising strength: 0.5, Clip skip: 2",
        ]
        assert image.size == (64, 32)


def png_header(width: int, height: int) -> bytes:
    """A picture that says it is enormous, and holds next to nothing."""
    header = chunk(b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT" + zlib.compress(b"\x00" * 1000)) + chunk(b"IEND")


def chunk(content: bytes) -> bytes:
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))


def test_a_picture_with_nonsense_in_its_exif_is_refused_or_read_but_nothing_else(tmp_path: Path) -> None:
    orientation, resolution = b"\x12\x01\x03\x00\x01\0\0\0\x06\0\0\0", b"\x1a\x01\x02\x00\x02\0\0\0x\0\0\0"
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + orientation + resolution + b"\0\0\0\0"
    file = tmp_path / "odd.jpg"
    Image.new("RGB", (20, 20)).save(file, exif=exif)
    with pytest.raises(InvalidRequest, match="init_image: must be a whole picture"):
        opened(file)
