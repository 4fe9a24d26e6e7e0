"""The input pictures of a request: fields of their own, and fields of entries in lists.

A place is the name of a field, such as `init_image`, or that of a field of an entry, such as `controls[0].image`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from imagegen.schema.markers import ImageMode, InputImage, find_marked_fields
from imagegen.schema.request import INPUT_IMAGES, GenerationRequest

ENTRY_PATTERN = re.compile(r"^(\w+)\[\d+\]\.(\w+)$")


def get_entry_type(field: str) -> type[BaseModel] | None:
    """Returns the class of the entries of a list in a request, None for a field that is no list of objects."""
    entry = next(iter(get_args(GenerationRequest.model_fields[field].annotation)), None)
    return entry if isinstance(entry, type) and issubclass(entry, BaseModel) else None


def find_entry_images() -> dict[str, dict[str, InputImage]]:
    """Returns the fields that hold pictures of the entries of each list, by the list's field."""
    types = {name: get_entry_type(name) for name in GenerationRequest.model_fields}
    marked = {name: find_marked_fields(entry, InputImage) for name, entry in types.items() if entry is not None}
    return {name: images for name, images in marked.items() if images}


# The fields of entries that hold pictures, by the field of their list.
ENTRY_IMAGES = find_entry_images()


def get_image_mode(place: str) -> ImageMode:
    """Returns the mode of the input picture at a place."""
    entry = ENTRY_PATTERN.match(place)
    return (ENTRY_IMAGES[entry[1]][entry[2]] if entry is not None else INPUT_IMAGES[place]).mode


def find_image_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what stands at the place of each input picture, without None. `values` are by field of a request.

    Values of another form than that of a request have no places.
    """
    found = {name: values[name] for name in INPUT_IMAGES if values.get(name) is not None}
    return found | {place: entry[name] for place, entry, name in list_entry_images(values)}


def get_input_images(request: GenerationRequest) -> dict[str, str]:
    """Returns the ids of the input pictures that a request names, by their places."""
    return find_image_values(dict(request))


def list_entry_images(values: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Yields place, entry and field of each picture in an entry of a list."""
    for field, images in ENTRY_IMAGES.items():
        entries = values.get(field)
        for number, entry in enumerate(entries if isinstance(entries, list | tuple) else ()):
            members = dict(entry) if isinstance(entry, BaseModel) else entry
            for name in images if isinstance(members, Mapping) else ():
                if members.get(name) is not None:
                    yield f"{field}[{number}].{name}", members, name


def replace_images(values: Mapping[str, Any], images: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values with those of `images` at their places."""
    replaced = {**values, **{name: image for name, image in images.items() if name in INPUT_IMAGES}}
    for field, names in ENTRY_IMAGES.items():
        entries = values.get(field)
        if isinstance(entries, list | tuple):
            replaced[field] = [
                replace_entry_images(entry, f"{field}[{number}].", names, images)
                for number, entry in enumerate(entries)
            ]
    return replaced


def replace_entry_images(entry: Any, prefix: str, names: Mapping[str, InputImage], images: Mapping[str, Any]) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    return {**entry, **{name: images[prefix + name] for name in names if prefix + name in images}}
