"""Safetensors files and folders in diffusers format: their contents, read from headers, and whether they are complete.

The format: eight bytes with the length of the header, the header as JSON, and the values of the tensors.
https://huggingface.co/docs/safetensors#format
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imagegen.library.shards import is_index, read_weight_map

MAX_HEADER_BYTES = 100 * 2**20


class BrokenWeights(ValueError):
    """The file is incomplete, or is not in the safetensors format."""


@dataclass(frozen=True)
class SafetensorsHeader:
    """The shapes of the tensors by name, and the metadata of the file.

    `dtypes` are the types of the tensors as the format calls them, such as "BF16". `places` are where their values
    begin and end in the file, in bytes.
    """

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]
    dtypes: dict[str, str] = field(default_factory=dict)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def parameter_count(self) -> int:
        """How many values all tensors have."""
        return sum(map(prod, self.shapes.values()))


def read_header(file: Path) -> SafetensorsHeader:
    """Returns the header of a safetensors file, or of all files in an index.

    Raises BrokenWeights if a file is incomplete or of another format.
    """
    if is_index(file.name):
        return read_sharded_header(file)
    try:
        status = file.stat()
    except OSError:
        raise BrokenWeights(file.name) from None
    return parse_header(file, status.st_size, status.st_mtime_ns)


def read_sharded_header(index: Path) -> SafetensorsHeader:
    """Returns the tensors of all files in an index, without their places.

    Each tensor is in the file that the index names, and the files have no others. Raises BrokenWeights with the name of
    the file that is damaged.
    """
    try:
        weight_map = {make_printable(name): part for name, part in read_weight_map(index).items()}
    except (OSError, ValueError, RecursionError):
        raise BrokenWeights(index.name) from None
    shapes: dict[str, tuple[int, ...]] = {}
    metadata: dict[str, str] = {}
    dtypes: dict[str, str] = {}
    for part in sorted(set(weight_map.values())):
        header = read_header(index.with_name(part))
        if header.shapes.keys() != {name for name, place in weight_map.items() if place == part}:
            raise BrokenWeights(part)
        shapes |= header.shapes
        metadata |= header.metadata
        dtypes |= header.dtypes
    return SafetensorsHeader(shapes, metadata, dtypes)


@lru_cache(maxsize=1024)
def parse_header(file: Path, size: int, _modified: int) -> SafetensorsHeader:
    """Parses a header. `size` in bytes and modification time in ns are part of the cache key."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > min(size - 8, MAX_HEADER_BYTES):
                raise BrokenWeights(file.name)
            tensors = json.loads(stream.read(length))
        metadata = {
            make_printable(name): make_printable(value)
            for name, value in (tensors.pop("__metadata__", None) or {}).items()
        }
        end = max((int(tensor["data_offsets"][1]) for tensor in tensors.values()), default=0)
        named = {make_printable(name): tensor for name, tensor in tensors.items()}
        shapes = {name: tuple(map(int, tensor["shape"])) for name, tensor in named.items()}
        dtypes = {name: make_printable(tensor.get("dtype")) for name, tensor in named.items()}
        start = 8 + length
        offsets = {name: tensor["data_offsets"] for name, tensor in named.items()}
        places = {name: (start + int(offset[0]), start + int(offset[1])) for name, offset in offsets.items()}
    except (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
        raise BrokenWeights(file.name) from None
    if size != 8 + length + end:
        raise BrokenWeights(file.name)
    return SafetensorsHeader(shapes, metadata, dtypes, places)


def read_values(file: Path, header: SafetensorsHeader, name: str) -> NDArray[np.float64]:
    """Returns the values of a small tensor as a row of float64. Raises BrokenWeights for one of another type."""
    begin, end = header.places[name]
    with file.open("rb") as stream:
        stream.seek(begin)
        content = stream.read(end - begin)
    match header.dtypes[name]:
        case "BF16":  # The upper half of a float32.
            return (np.frombuffer(content, "<u2").astype("<u4") << 16).view("<f4").astype(np.float64)
        case "F16" | "F32" | "F64" as dtype:
            return np.frombuffer(content, f"<f{int(dtype[1:]) // 8}").astype(np.float64)
    raise BrokenWeights(file.name)


def make_printable(value: object) -> str:
    """Returns a value as text that can be encoded: JSON may have lone surrogates."""
    return str(value).encode(errors="replace").decode()


def compute_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal digits. Reads the whole file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def find_missing_part(folder: Path) -> str | None:
    """Returns the first missing file of a folder in diffusers format, as a relative path; None if it is complete.

    Raises OSError, ValueError and KeyError for a configuration that cannot be read.
    """
    for component, (_, class_name) in read_components(folder).items():
        if not (folder / component).is_dir():
            return component
        empty = find_empty_file(folder / component)
        if empty is not None:
            return f"{component}/{empty}"
        part = (
            find_missing_weights(folder / component)
            if has_weights(class_name)
            else find_missing_config(folder / component)
        )
        if part is not None:
            return f"{component}/{part}"
    return None


def find_empty_file(folder: Path) -> str | None:
    """Returns the name of the first file in a folder that has no bytes, as after a failed download; None if none."""
    return next((file.name for file in sorted(folder.iterdir()) if file.is_file() and not file.stat().st_size), None)


def find_missing_config(folder: Path) -> str | None:
    """Components without weights need at least one JSON file."""
    return None if any(folder.glob("*.json")) else "*.json"


# Components that a pipeline may name and that the studio does not load. The last two rewrite prompts.
UNUSED_COMPONENTS = ("safety_checker", "feature_extractor", "image_encoder", "pe", "pe_tokenizer")


def read_components(folder: Path) -> dict[str, tuple[str, str]]:
    """Returns library and class by component, from the folder's model_index.json."""
    index = json.loads((folder / "model_index.json").read_bytes())
    return parse_components(index)


def parse_components(index: dict[str, object]) -> dict[str, tuple[str, str]]:
    """Returns library and class by component, without those that are None or not loaded."""
    return {
        name: (str(value[0]), str(value[1]))
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and name not in UNUSED_COMPONENTS
    }


def has_weights(class_name: str) -> bool:
    """Returns whether a class has weights. All other components of a pipeline are configuration."""
    return not any(
        part in class_name for part in ("Scheduler", "Tokenizer", "Processor", "FeatureExtractor", "Guidance")
    )


def find_missing_weights(folder: Path) -> str | None:
    """Returns the first missing or incomplete file of a component; None if it has one complete set of safetensors."""
    if not (folder / "config.json").is_file():
        return "config.json"
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return "*.safetensors"
    indexed_files = [file for index in folder.glob("*.safetensors.index*.json") for file in list_indexed_files(index)]
    for file in indexed_files or files:
        try:
            read_header(folder / Path(file).name)
        except BrokenWeights:
            return Path(file).name
    return None


def list_indexed_files(index: Path) -> set[str]:
    """Returns the names of the files in an index of sharded weights."""
    names: set[str] = set(json.loads(index.read_bytes())["weight_map"].values())
    return names


def measure_weight_bytes(path: Path) -> int:
    """Returns the bytes of the weights that are loaded from a file, or from a folder in diffusers format."""
    if path.is_file():
        return path.stat().st_size
    return sum(
        file.stat().st_size for component in read_components(path) for file in (path / component).glob("*.safetensors")
    )


def list_indexes(folder: Path) -> list[str]:
    """Returns the indexes of sharded weights below a folder, as sorted relative paths."""
    files = (file.relative_to(folder).as_posix() for file in folder.rglob("*.safetensors.index*.json"))
    return sorted(filter(is_index, files))


def list_weight_files(folder: Path) -> list[str]:
    """Returns the safetensors files below a folder, as sorted relative paths."""
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.safetensors"))
