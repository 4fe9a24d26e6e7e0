"""Texts in picture files."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from imagegen.errors import InvalidRequest
from imagegen.media.inputs import MAX_INPUT_BYTES
from imagegen.media.metadata.exif import build_exif, decode_user_comment, encode_user_comment
from imagegen.media.metadata.infotext import parse_infotext
from imagegen.media.metadata.png_text import build_png_info, read_file_texts
from tests.doubles import make_receipt

TEXT = "a café, 雪\nSteps: 20, Sampler: Euler, Seed: 7"


def save(image_format: str, **options: Any) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, format=image_format, **options)
    return buffer.getvalue()


def test_a_user_comment_is_decoded_as_it_was_encoded() -> None:
    assert decode_user_comment(encode_user_comment(TEXT)) == TEXT


@pytest.mark.parametrize("value", [b"ASCII\0\0\0plain", b"plain"])
def test_user_comments_of_other_tools_are_decoded(value: bytes) -> None:
    assert decode_user_comment(value) == "plain"


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP"])
def test_settings_are_read_from_exif(image_format: str) -> None:
    assert read_file_texts(save(image_format, exif=build_exif(TEXT)))["parameters"] == TEXT


def test_settings_and_receipt_are_read_from_text_chunks() -> None:
    texts = read_file_texts(save("PNG", pnginfo=build_png_info(make_receipt(prompt="a café"))))
    assert parse_infotext(texts["parameters"])["Prompt"] == "a café"
    assert '"prompt": "a café"' in texts["receipt"]


def test_a_text_chunk_precedes_exif() -> None:
    info = PngInfo()
    info.add_itxt("parameters", "from the chunk")
    assert read_file_texts(save("PNG", pnginfo=info, exif=build_exif(TEXT)))["parameters"] == "from the chunk"


def test_a_picture_without_texts_has_none() -> None:
    assert read_file_texts(save("PNG")) == {}


@pytest.mark.parametrize(
    "content",
    [b"", b"no picture", save("PNG")[:48], bytes(MAX_INPUT_BYTES + 1)],
    ids=["empty", "text", "cut short", "too large"],
)
def test_what_is_not_a_picture_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_file_texts(content)
