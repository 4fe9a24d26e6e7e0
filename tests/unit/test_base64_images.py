"""Pictures in base64, as programs write them."""

from __future__ import annotations

import base64

import pytest

from imagegen.errors import InvalidRequest
from imagegen.media.base64_images import decode_base64_image, encode_base64

CONTENT = bytes(range(251)) + b"\xff\xfe"
PLAIN = encode_base64(CONTENT)


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        f"data:image/png;base64,{PLAIN}",
        f"DATA:image/png;BASE64,{PLAIN}",
        f"data:;base64,{PLAIN}",
        f"data:image/png;charset=utf-8;base64, {PLAIN}",
        f"  data:image/svg+xml; base64 ,\n{PLAIN}\n",
        PLAIN.rstrip("="),
        f"{PLAIN}==",
        base64.encodebytes(CONTENT).decode(),
        base64.encodebytes(CONTENT).decode().replace("\n", "\r\n"),
        f"\t{PLAIN[:50]} {PLAIN[50:]}\n\n",
    ],
    ids=[
        "plain", "data URI", "in capitals", "without a type", "with a parameter", "with spaces", "without padding",
        "with too much padding", "in lines", "in lines of Windows", "with whitespace",
    ],
)  # fmt: skip
def test_a_picture_is_read(text: str) -> None:
    assert PLAIN.endswith("=")
    assert decode_base64_image(text, "image") == CONTENT


@pytest.mark.parametrize("length", range(1, 9))
def test_no_length_needs_padding(length: int) -> None:
    content = CONTENT[:length]
    assert decode_base64_image(encode_base64(content).rstrip("="), "image") == content


@pytest.mark.parametrize(
    "text",
    ["nonsense!", "A", "data:image/png,abc", "http://127.0.0.1/a.png", "größer", "AA=A", "data:image/png;base64", "\0"],
)
def test_anything_else_names_the_field(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^init_images: must be a picture in base64"):
        decode_base64_image(text, "init_images")
