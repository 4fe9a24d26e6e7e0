"""Pictures with a colour profile become sRGB. The right colours are computed from the definitions of the spaces."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from imagegen.media.inputs import load_input_image
from imagegen.schema.markers import ImageMode

# The primaries of colour spaces in XYZ for the white of profiles (D50), one in each row: red, green and blue.
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
SPACES = {"Display P3": DISPLAY_P3, "Adobe RGB": ADOBE_RGB}
GAMMA = 2.19921875
COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (128, 128, 128), (250, 240, 230), (0, 0, 0), (255, 255, 255)]


def build_tag(kind: bytes, content: bytes) -> bytes:
    return kind + bytes(4) + content + bytes(-len(content) % 4)


def build_xyz(values: tuple[float, ...]) -> bytes:
    return build_tag(b"XYZ ", struct.pack(">3i", *(round(value * 65536) for value in values)))


def build_profile(name: str, space: bytes = b"RGB ") -> bytes:
    """Returns a profile of version 2 with primaries and a gamma, after the specification of the ICC."""
    text = name.encode()
    tags = {
        b"desc": build_tag(b"desc", struct.pack(">I", len(text) + 1) + text + bytes(1 + 12 + 67)),
        b"cprt": build_tag(b"text", b"None\0"),
        b"wtpt": build_xyz((0.9642, 1.0, 0.8249)),
    }
    curve = build_tag(b"curv", struct.pack(">IH", 1, round(GAMMA * 256)))
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        for channel, primary in zip("rgb", SPACES[name], strict=True):
            tags[f"{channel}XYZ".encode()] = build_xyz(primary)
            tags[f"{channel}TRC".encode()] = curve
    place, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for kind, content in tags.items():
        table += kind + struct.pack(">2I", place + len(body), len(content))
        body += content
    white = struct.pack(">3i", round(0.9642 * 65536), 65536, round(0.8249 * 65536))
    head = struct.pack(">I4xI4s4s4s12x4s", place + len(body), 0x02100000, b"mntr", space, b"XYZ ", b"acsp")
    return (head.ljust(68, b"\0") + white).ljust(128, b"\0") + table + body


def compute_srgb(colours: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Returns colours of a colour space, of shape (n, 3) in levels, as levels of sRGB."""
    linear = (colours / 255) ** GAMMA @ np.array(SPACES[name]) @ np.linalg.inv(np.array(SRGB))
    linear = linear.clip(0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    rounded: NDArray[np.float64] = np.round(255 * encoded)
    return rounded


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def paint_colours() -> Image.Image:
    """Returns a picture with two rows of each colour."""
    return Image.fromarray(np.array(COLOURS, np.uint8)[:, None].repeat(8, axis=1).repeat(2, axis=0))


@pytest.mark.parametrize("name", ["Display P3", "Adobe RGB"])
@pytest.mark.parametrize("mode", ["rgb", "rgba"])
def test_wide_colours_become_srgb(name: str, mode: ImageMode) -> None:
    image = load_input_image(encode(paint_colours(), icc_profile=build_profile(name)), "image", mode)
    found = np.asarray(image, np.float64)[::2, 0]
    expected = compute_srgb(np.array(COLOURS, np.float64), name)
    assert np.abs(found - expected).max() <= 2
    assert np.abs(found - np.array(COLOURS)).max() > 10, "the profile has an effect"
    assert "icc_profile" not in image.info


def test_transparency_stays() -> None:
    image = paint_colours()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    content = encode(image, icc_profile=build_profile("Display P3"))
    made = load_input_image(content, "image", "rgba")
    assert made.getchannel("A").tobytes() == image.getchannel("A").tobytes()
    opaque = np.asarray(image)[..., 3] == 255
    assert np.array_equal(np.asarray(load_input_image(content, "image"))[opaque], np.asarray(made)[opaque][:, :3])


def test_a_palette_has_a_profile_too() -> None:
    image = paint_colours().quantize(16)
    direct = encode(image.convert("RGB"), icc_profile=build_profile("Adobe RGB"))
    content = encode(image, icc_profile=build_profile("Adobe RGB"))
    assert load_input_image(content, "image").tobytes() == load_input_image(direct, "image").tobytes()


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_has_a_profile_too(mode: str) -> None:
    content = encode(
        Image.new(mode, (8, 8), 100 if mode == "L" else (100, 255)), icc_profile=build_profile("Grey", b"GRAY")
    )
    linear = (100 / 255) ** GAMMA
    expected = round(255 * (1.055 * linear ** (1 / 2.4) - 0.055))
    made = load_input_image(content, "image").getpixel((0, 0))
    assert isinstance(made, tuple) and all(abs(value - expected) <= 1 for value in made)


@pytest.mark.parametrize(
    "profile",
    [
        b"nonsense",
        build_profile("Grey", b"GRAY"),
        build_profile("Display P3")[:200],
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    ],
    ids=["no profile", "of another mode", "a part", "sRGB"],
)
def test_a_profile_that_is_none_or_srgb_changes_nothing(profile: bytes) -> None:
    made = load_input_image(encode(paint_colours(), icc_profile=profile), "image")
    assert made.tobytes() == paint_colours().tobytes()
    assert "icc_profile" not in made.info
