"""Exif: text in its field UserComment, for formats without text fields of their own."""

from __future__ import annotations

from PIL import ExifTags, Image

# The standard's 8-byte prefixes, and the encodings of the text that follows. Writers leave ASCII for UTF-8.
COMMENT_ENCODINGS = {b"ASCII\0\0\0": "utf-8", b"\0\0\0\0\0\0\0\0": "utf-8", b"JIS\0\0\0\0\0": "iso2022_jp"}
UNICODE_PREFIX = b"UNICODE\0"
BYTE_ORDERS = ("utf-16-be", "utf-16-le")


def build_exif(text: str) -> Image.Exif:
    """Returns an Exif block whose UserComment is the text."""
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = encode_user_comment(text)
    return exif


def read_user_comment(image: Image.Image) -> str:
    """Returns the UserComment of a picture, or else its comment as JPEG and GIF have it; "" if there is neither."""
    value = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment) or image.info.get("comment")
    if isinstance(value, bytes):
        return decode_user_comment(value)
    return value if isinstance(value, str) else ""


def encode_user_comment(text: str) -> bytes:
    return UNICODE_PREFIX + text.encode("utf-16-be")


def decode_user_comment(value: bytes) -> str:
    """Returns the text of a comment. One without a known prefix is UTF-8, or UTF-16 if it begins with its mark."""
    prefix, rest = value[:8], value[8:]
    if prefix == UNICODE_PREFIX:
        return decode_utf16(rest)
    if value.startswith((b"\xfe\xff", b"\xff\xfe")):
        return decode_utf16(value)
    encoding = COMMENT_ENCODINGS.get(prefix)
    return (rest.decode(encoding, "replace") if encoding else value.decode("utf-8", "replace")).rstrip("\0")


def decode_utf16(value: bytes) -> str:
    """Returns the text in the byte order of its mark, or else in the one that gives more ASCII characters.

    The standard means the byte order of the Exif block, but many writers have one order only. UTF-8 occurs, too.
    """
    if value.startswith((b"\xfe\xff", b"\xff\xfe")):
        return value.decode("utf-16", "replace").rstrip("\0")
    if b"\0" not in value:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            pass
    texts = [value.decode(order, "replace") for order in BYTE_ORDERS]
    return max(texts, key=lambda text: sum(map(str.isascii, text.replace("\0", "")))).rstrip("\0")


def read_exif_texts(image: Image.Image) -> dict[str, str]:
    """Returns the texts in the first block of Exif by the names of their fields, such as "Software"."""
    named = ((ExifTags.TAGS.get(number, str(number)), value) for number, value in image.getexif().items())
    return {name: value.rstrip("\0") for name, value in named if isinstance(value, str)}
