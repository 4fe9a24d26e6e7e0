"""The prompt of a picture that comes without one."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from imagegen.media.metadata.picture_prompt import find_picture_prompt
from imagegen.media.metadata.png_text import build_png_info
from tests.doubles import make_receipt


def png(**changes: object) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, format="PNG", pnginfo=build_png_info(make_receipt(**changes)))
    return buffer.getvalue()


def test_a_picture_of_the_studio_supplies_its_prompt() -> None:
    assert find_picture_prompt(png(prompt="a lake\nat sunset")) == "a lake\nat sunset"


def png_with(**texts: str) -> bytes:
    info, buffer = PngInfo(), BytesIO()
    for name, text in texts.items():
        info.add_itxt(name, text)
    Image.new("RGB", (8, 8)).save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nothing",
        png()[:60],
        png_with(),
        png_with(receipt="not JSON"),
        png_with(receipt="[" * 100_000),
        png_with(receipt='["prompt"]'),
        png_with(receipt='{"prompt": 7}'),
        png()[:16] + b"\0\0\x4e\x20\0\0\x4e\x20" + png()[24:],
    ],
    ids=["empty", "no picture", "broken", "bare", "other receipt", "deep", "list", "number", "enormous"],
)
def test_any_other_picture_supplies_none(content: bytes) -> None:
    assert find_picture_prompt(content) == "a picture"
