"""Uploaded pictures are accepted or refused with one error; finished pictures contain their receipt."""

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from imagegen.errors import InvalidRequest
from imagegen.media.inputs import INPUT_FORMATS, has_mode, load_input_image
from imagegen.media.metadata.png_text import read_file_texts
from imagegen.media.png import encode_png
from imagegen.schema.markers import ImageMode
from imagegen.storage.files import ImageStore
from tests.doubles import make_receipt

RED, BLUE = (200, 30, 30), (30, 30, 200)


FIELD = "init_image"


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "data")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "picture"


def store_and_open(store: ImageStore, file: Path) -> Image.Image:
    with Image.open(store.input_path(store.add_input(file, FIELD))) as image:
        assert image.mode == "RGB"
        return image.copy()


def halves(mode: str = "RGB") -> Image.Image:
    """Returns a picture that is red on the left and blue on the right."""
    image = Image.new("RGB", (64, 32), RED)
    image.paste(BLUE, (32, 0, 64, 32))
    return image.convert(mode)


def near(pixel: object, color: tuple[int, int, int], tolerance: int = 12) -> bool:
    return isinstance(pixel, tuple) and all(abs(a - b) <= tolerance for a, b in zip(pixel, color, strict=True))


@pytest.mark.parametrize("kind", INPUT_FORMATS)
def test_common_formats_are_taken(store: ImageStore, file: Path, kind: str) -> None:
    halves().save(file, format=kind)
    image = store_and_open(store, file)
    assert image.size == (64, 32)
    assert near(image.getpixel((8, 16)), RED) and near(image.getpixel((56, 16)), BLUE)


def test_heic_is_refused_by_name(store: ImageStore, file: Path) -> None:
    for content in (b"\0\0\0\x18ftypheic\0\0\0\0", b"\0\0\0\x18ftypmif1\0\0\0\0"):
        file.write_bytes(content)
        for source in (content, file):
            with pytest.raises(InvalidRequest, match="init_image: must be a whole picture in one of .*; it is HEIC"):
                store.add_input(source, FIELD)


def test_an_upload_that_is_gone_is_refused_by_name(store: ImageStore, file: Path) -> None:
    with pytest.raises(InvalidRequest, match="init_image: must be a whole picture"):
        store.add_input(file, FIELD)


def test_long_texts_are_no_fault_of_a_picture(store: ImageStore, file: Path) -> None:
    info = PngInfo()
    info.add_text("workflow", "x" * 3_000_000, zip=True)
    halves().save(file, format="PNG", pnginfo=info)
    assert near(store_and_open(store, file).getpixel((8, 16)), RED)
    assert read_file_texts(file.read_bytes())["workflow"] == "x" * 3_000_000


def test_cmyk_keeps_its_colours(store: ImageStore, file: Path) -> None:
    halves("CMYK").save(file, format="JPEG", quality=95)
    assert near(store_and_open(store, file).getpixel((8, 16)), RED)


def test_a_photograph_is_turned_upright(store: ImageStore, file: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    halves().save(file, format="JPEG", exif=exif)
    image = store_and_open(store, file)
    assert image.size == (32, 64)
    assert near(image.getpixel((16, 8)), RED)


def test_sixteen_bits_become_eight(store: ImageStore, file: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 32, dtype=np.uint16).reshape(32, 64)
    Image.fromarray(ramp).save(file, format="PNG")
    image = store_and_open(store, file)
    assert near(image.getpixel((0, 0)), (0, 0, 0)) and near(image.getpixel((63, 31)), (255, 255, 255))
    assert near(image.getpixel((32, 15)), (125, 125, 125))


def test_transparent_pixels_become_white(store: ImageStore, file: Path) -> None:
    Image.new("RGBA", (16, 16), (200, 30, 30, 0)).save(file, format="PNG")
    assert store_and_open(store, file).getpixel((8, 8)) == (255, 255, 255)


def test_a_mask_with_transparency_is_its_alpha_channel(file: Path) -> None:
    drawn = Image.new("RGBA", (16, 16), (0, 0, 0, 255))
    drawn.putpixel((3, 5), (255, 255, 255, 40))
    for mode in ("RGBA", "LA"):
        drawn.convert(mode).save(file, format="PNG")
        mask = load_input_image(file, FIELD, "mask")
        assert (mask.mode, mask.getpixel((3, 5)), mask.getpixel((8, 8))) == ("L", 40, 255)


def test_an_alpha_channel_without_transparency_says_nothing(file: Path) -> None:
    Image.new("RGBA", (16, 16), (255, 255, 255, 255)).save(file, format="PNG")
    assert load_input_image(file, FIELD, "mask").getextrema() == (255, 255)
    Image.new("RGBA", (16, 16), (0, 0, 0, 255)).save(file, format="PNG")
    assert load_input_image(file, FIELD, "mask").getextrema() == (0, 0)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
def test_a_mask_without_an_alpha_channel_is_grey(file: Path, mode: str) -> None:
    halves("L").point(lambda value: 255 if value > 50 else 0).convert(mode).save(file, format="PNG")
    mask = load_input_image(file, FIELD, "mask")
    assert (mask.mode, mask.getpixel((8, 16)), mask.getpixel((56, 16))) == ("L", 255, 0)


def test_a_palette_with_transparency_is_a_mask_too(file: Path) -> None:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(file, format="PNG", transparency=1)
    mask = load_input_image(file, FIELD, "mask")
    assert mask.mode == "L" and mask.getextrema() == (0, 0)


def test_grey_of_16_bits_keeps_its_range(file: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 32, dtype=np.uint16).reshape(32, 64)
    Image.fromarray(ramp).save(file, format="PNG")
    mask = load_input_image(file, FIELD, "mask")
    assert mask.mode == "L" and mask.getextrema() == (0, 255)


@pytest.mark.parametrize(("mode", "input_mode"), [("RGB", "rgb"), ("RGBA", "mask")])
def test_a_stored_picture_has_the_mode_that_its_field_needs(file: Path, mode: str, input_mode: ImageMode) -> None:
    file.write_bytes(encode_png(load_input_image(save(halves(mode), file), FIELD, input_mode)))
    modes: tuple[ImageMode, ...] = ("rgb", "mask")
    assert has_mode(file, input_mode)
    assert {each for each in modes if has_mode(file, each)} == {input_mode}


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L"])
def test_a_stored_picture_is_loaded_in_its_mode(store: ImageStore, mode: str) -> None:
    save(halves(mode), store.input_path("0" * 64))
    loaded = store.load_input("0" * 64)
    assert (loaded.mode, loaded.tobytes()) == (mode, halves(mode).tobytes())


def save(image: Image.Image, file: Path) -> Path:
    image.save(file, format="PNG")
    return file


def test_an_error_names_the_field_that_the_picture_is_for(file: Path) -> None:
    file.write_bytes(b"nothing")
    with pytest.raises(InvalidRequest) as refused:
        load_input_image(file, "mask_image", "mask")
    assert refused.value.field == "mask_image"


def test_of_an_animation_the_first_picture_is_taken(store: ImageStore, file: Path) -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in (RED, BLUE)]
    frames[0].save(file, format="GIF", save_all=True, append_images=frames[1:])
    assert near(store_and_open(store, file).getpixel((8, 8)), RED)


def test_the_same_picture_has_the_same_name(store: ImageStore, file: Path) -> None:
    halves().save(file, format="PNG")
    first = store.add_input(file, FIELD)
    halves().save(file, format="BMP")
    assert store.add_input(file, FIELD) == first


def test_a_bomb_is_refused_before_it_is_unpacked(store: ImageStore, file: Path) -> None:
    file.write_bytes(png_header(50_000, 50_000))
    with pytest.raises(InvalidRequest, match=r"init_image: must have at most 16.8 million pixels"):
        store.add_input(file, FIELD)


def test_a_huge_bomb_is_refused_too(store: ImageStore, file: Path) -> None:
    file.write_bytes(png_header(2**31 - 1, 2**31 - 1))
    with pytest.raises(InvalidRequest, match="^init_image: must "):
        store.add_input(file, FIELD)


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n" + b"\x00" * 40, b"<svg></svg>"])
def test_what_is_no_picture_is_refused(store: ImageStore, file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(InvalidRequest, match="^init_image: must be a whole picture in one of PNG, JPEG"):
        store.add_input(file, FIELD)


def test_half_a_file_is_refused(store: ImageStore, file: Path) -> None:
    halves().resize((640, 320)).save(file, format="PNG")
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(InvalidRequest, match="^init_image: must be a whole picture"):
        store.add_input(file, FIELD)


def test_a_speck_is_refused(store: ImageStore, file: Path) -> None:
    Image.new("RGB", (1, 1)).save(file, format="PNG")
    with pytest.raises(InvalidRequest, match="init_image: must be at least 8 pixels wide and high"):
        store.add_input(file, FIELD)


def test_nothing_is_left_of_a_refused_picture(store: ImageStore, file: Path) -> None:
    file.write_bytes(b"nothing")
    with pytest.raises(InvalidRequest):
        store.add_input(file, FIELD)
    assert list(store.inputs_dir.iterdir()) == []


def test_a_finished_picture_carries_its_receipt(store: ImageStore) -> None:
    picture = store.write_picture(
        halves(), make_receipt(prompt="Ein Kreis 🔴", negative_prompt="blur", strength=0.5, clip_skip=1)
    )
    with Image.open(store.picture_path(picture.id)) as image:
        assert json.loads(image.info["receipt"]) == picture.receipt.model_dump(mode="json")
        assert image.info["parameters"].split("\n") == [
            "Ein Kreis 🔴",
            "Negative prompt: blur",
            "Steps: 20, Sampler: DPM++ 2M, CFG scale: 3, Seed: 7, Size: 128x128, Model: embedded, RNG: CPU, "
            "Denoising strength: 0.5, Clip skip: 2",
        ]
        assert image.size == (64, 32)


def png_header(width: int, height: int) -> bytes:
    """A picture whose header names an enormous size, with next to no pixels."""
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
        load_input_image(file, FIELD)
