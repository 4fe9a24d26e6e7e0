"""All texts of a picture file in which tools keep settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PIL import Image

from imagegen.media.inputs import DECODE_ERRORS
from imagegen.media.metadata.exif import read_exif_texts
from imagegen.media.metadata.found import MAX_METADATA_CHARS, parse_object
from imagegen.media.metadata.png_text import SETTINGS_KEY, read_file
from imagegen.media.metadata.stealth import read_stealth_text
from imagegen.media.metadata.xmp import read_xmp_texts

# What Pillow's readers of metadata raise for damaged ones, besides.
METADATA_ERRORS = (*DECODE_ERRORS, AttributeError, IndexError, EOFError, OverflowError, RecursionError)
# How ComfyUI begins the texts that it keeps in fields of Exif, such as Make and Model.
GRAPH_NAMES = ("prompt", "workflow")
XMP_PREFIX = "xmp:"


def read_all_texts(content: bytes) -> dict[str, str]:
    """Returns the texts of a picture file by name. Raises InvalidRequest.

    `parameters` is the text chunk of that name, or the UserComment of Exif. Those of XMP begin with `xmp:`.
    """
    return read_file(content, collect_texts)


def collect_texts(image: Image.Image, texts: Mapping[str, str]) -> dict[str, str]:
    """Returns the texts of a loaded picture, with those of its chunks. Damaged metadata has none."""
    exif = read_or_skip(read_exif_texts, image)
    xmp = {f"{XMP_PREFIX}{name}": text for name, text in read_or_skip(read_xmp_texts, image).items()}
    return {**split_graph_texts(exif), **exif, **xmp, **read_stealth_texts(image), **texts}


def read_or_skip(read: Callable[[Image.Image], dict[str, str]], image: Image.Image) -> dict[str, str]:
    try:
        return read(image)
    except METADATA_ERRORS:
        return {}


def split_graph_texts(exif: Mapping[str, str]) -> dict[str, str]:
    """Returns the texts that begin with their name, as in `prompt:{…}`."""
    pairs = (value.partition(":") for value in exif.values())
    return {name.casefold(): text for name, _, text in pairs if text and name.casefold() in GRAPH_NAMES}


def read_stealth_texts(image: Image.Image) -> dict[str, str]:
    """Returns the texts in the alpha channel: those of an object by their names, and any other as `parameters`."""
    text = read_stealth_text(image, MAX_METADATA_CHARS)
    values = parse_object(text)
    if values and all(isinstance(value, str) for value in values.values()):
        return values
    return {SETTINGS_KEY: text} if text else {}
