"""Reads the settings that many tools write into pictures, in the form of AUTOMATIC1111's web UI."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from PIL import ExifTags, Image

PAIR = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
NEGATIVE = re.compile(r"^Negative prompt:", re.MULTILINE)
SIZE = re.compile(r"(\d+)x(\d+)")
# A line of words may have a colon or two in it.
LEAST_PAIRS = 3
# What a file means that does not say it.
MEANT = {"Clip skip": "1", "RNG": "GPU"}
ENCODINGS = {b"ASCII\0\0\0": "ascii", b"UNICODE\0": "utf-16-be"}


def texts(image: Image.Image) -> dict[str, str]:
    """All that is written in a picture, the settings under `parameters`."""
    found = {str(name): value for name, value in image.info.items() if isinstance(value, str)}
    if "parameters" not in found and (said := comment(image)):
        found["parameters"] = said
    return found


def comment(image: Image.Image) -> str:
    """Where formats without a text of their own have it."""
    said = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment) or image.info.get("comment")
    if isinstance(said, bytes):
        encoding = ENCODINGS.get(said[:8])
        return said[8:].decode(encoding, "replace") if encoding else said.decode("utf-8", "replace")
    return said if isinstance(said, str) else ""


def parameters(text: str) -> dict[str, str]:
    """The settings by their names; empty when there are none."""
    if not text.strip():
        return {}
    *lines, last = text.strip().split("\n")
    settings = dict(pairs(last))
    if len(settings) < LEAST_PAIRS:
        lines, settings = [*lines, last], {}
    prompt, *negative = NEGATIVE.split("\n".join(lines), maxsplit=1)
    found = {"Prompt": prompt.strip(), "Negative prompt": "".join(negative).strip()}
    for name, value in settings.items():
        found |= sides(name, value) if SIZE.fullmatch(value) else {name: value}
    return MEANT | found


def pairs(line: str) -> Iterator[tuple[str, str]]:
    place = 0
    while place < len(line):
        found = PAIR.match(line, place)
        if found is not None:
            yield found[1], plain(found[2])
        comma = line.find(",", place)
        place = found.end() if found is not None else comma + 1 if comma >= 0 else len(line)


def plain(value: str) -> str:
    try:
        said: Any = json.loads(value) if value.startswith('"') else value
    except ValueError:
        return value
    return str(said)


def sides(name: str, value: str) -> dict[str, str]:
    width, height = value.split("x")
    return {f"{name}-1": width, f"{name}-2": height}
