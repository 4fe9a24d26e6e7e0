"""What a reader finds in a picture file, in the terms of the tool that made it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

from imagegen.errors import InvalidRequest

# The fields of a request, and these, which become such fields with what is known of models and files:
# "size" is WIDTHxHEIGHT, "clip_layer" counts the text encoder's layers from 1, "control" needs a picture.
SettingKind = str
ResourceKind = Literal["model", "lora", "vae", "embedding", "upscaler", "controlnet", "ip_adapter", "detector"]
# Far more than graphs of other tools have.
MAX_METADATA_CHARS = 4_000_000
MAX_JSON_COMMAS = 200_000
# More than are answered.
MAX_SETTINGS = 1000


@dataclass(frozen=True)
class NamedFile:
    """A file of weights as a tool names it. `checksum` is the start of its SHA-256, "" if the tool says none."""

    name: str
    checksum: str = ""
    weight: float = 1.0

    @property
    def stem(self) -> str:
        """The name of the file without folders and its suffix."""
        name = PurePosixPath(self.name.replace("\\", "/")).name
        stem, _, suffix = name.rpartition(".")
        return (
            stem if stem and suffix.casefold() in ("safetensors", "ckpt", "pt", "pth", "bin", "gguf", "sft") else name
        )


@dataclass(frozen=True)
class FoundSampler:
    """A sampler and its schedule as a tool names them. Either may be in the other's name."""

    name: str
    schedule: str = ""


@dataclass(frozen=True)
class Setting:
    """One setting. `kind` is None if the studio has nothing like it, and `note` is a text of `notes.py`."""

    name: str
    found: Any
    kind: SettingKind | None = None
    value: Any = None
    note: str = ""


@dataclass
class FoundSettings:
    """All settings of a picture, in the order in which they are shown."""

    tool: str
    version: str | None = None
    settings: list[Setting] = field(default_factory=list)

    def add(self, name: str, found: Any, kind: SettingKind | None = None, value: Any = None, note: str = "") -> None:
        """Adds a setting, unless the file leaves it open. Without `value`, it is what was found."""
        if found is None or found == "" or len(self.settings) >= MAX_SETTINGS:
            return
        self.settings.append(Setting(name, found, kind, found if value is None else value, note))

    def add_fields(self, values: Mapping[str, Any], kinds: Mapping[str, SettingKind]) -> None:
        """Adds the settings of `values` that `kinds` has a kind for, by their names."""
        for name, kind in kinds.items():
            self.add(name, values.get(name), kind)

    def add_unknown(self, values: Mapping[str, Any], known: set[str] | frozenset[str]) -> None:
        """Adds those of `values` that are not `known`, as settings that the studio does not have."""
        for name, value in values.items():
            if name not in known and is_set(value) and to_number(value) != 0:
                self.add(str(name), value)


def is_set(value: Any) -> bool:
    """Returns whether a value asks for something: it is not None, False or empty."""
    return value is not None and value is not False and value not in ("", "None", "none", [], {})


def check_amount(texts: Mapping[str, str]) -> None:
    """Raises InvalidRequest for texts that would take long to read."""
    if sum(map(len, texts.values())) > MAX_METADATA_CHARS:
        raise InvalidRequest("image", f"must have at most {MAX_METADATA_CHARS // 10**6} MB of texts with settings")


def parse_object(text: str | None) -> dict[str, Any]:
    """Returns the JSON object in a text; an empty one if there is none, or if it has far too many values."""
    if text is None or not text.lstrip().startswith("{") or text.count(",") > MAX_JSON_COMMAS:
        return {}
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def get_object(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Returns the object under a name; an empty one if there is something else. It may be JSON in a text."""
    value = values.get(name)
    if isinstance(value, str):
        return parse_object(value)
    return value if isinstance(value, dict) else {}


def get_text(values: Mapping[str, Any], *names: str) -> str:
    """Returns the first text under one of the names; "" if there is none."""
    return next((value for name in names if isinstance(value := values.get(name), str) and value), "")


def list_objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yields the objects of a list; none of something else."""
    yield from (each for each in (value if isinstance(value, list) else ()) if isinstance(each, dict))


def to_number(value: Any) -> float | None:
    """Returns a finite number, also from a text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def to_weight(value: Any) -> float:
    """Returns the weight of a file; 1 for what is no number."""
    number = to_number(value)
    return 1.0 if number is None else number
