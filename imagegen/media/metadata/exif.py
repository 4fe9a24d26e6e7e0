"""Exif: text in its field UserComment, for formats without text fields of their own."""

from __future__ import annotations

from PIL import ExifTags, Image

# The standard's 8-byte prefixes, and the encodings of the text that follows.
COMMENT_ENCODINGS = {b"ASCII\0\0\0": "ascii", b"UNICODE\0": "utf-16-be"}


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
    return b"UNICODE\0" + text.encode("utf-16-be")


def decode_user_comment(value: bytes) -> str:
    """Reads a comment without a known prefix as UTF-8."""
    encoding = COMMENT_ENCODINGS.get(value[:8])
    return value[8:].decode(encoding, "replace") if encoding else value.decode("utf-8", "replace")
