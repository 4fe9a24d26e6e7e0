"""XMP: texts of a picture as XML."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from PIL import Image

# An entity could stand for any amount of text.
DECLARATIONS = ("<!doctype", "<!entity")


def read_xmp_texts(image: Image.Image) -> dict[str, str]:
    """Returns the texts in the XMP of a picture, by their names without namespaces; none of XMP that is damaged."""
    value = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or ""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    if not text.strip() or any(declaration in text.casefold() for declaration in DECLARATIONS):
        return {}
    try:
        root = ET.fromstring(text.strip("\0 \r\n\t\ufeff"))  # noqa: S314 It has no entities.
    except ET.ParseError:
        return {}
    found: dict[str, str] = {}
    for name, content in iterate_texts(root):
        found.setdefault(name, content)
    return found


def iterate_texts(root: ET.Element) -> Iterator[tuple[str, str]]:
    """Yields the properties of all descriptions: their attributes, and their elements with the text inside."""
    for element in root.iter():
        if get_local_name(element.tag) != "Description":
            continue
        yield from ((get_local_name(name), value) for name, value in element.attrib.items())
        for child in element:
            if content := "".join(child.itertext()).strip():
                yield get_local_name(child.tag), content


def get_local_name(name: str) -> str:
    return name.rpartition("}")[2]
