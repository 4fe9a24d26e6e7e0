"""Files of weights, read by their heads alone: what is in them, and whether they are whole.

The format is that of safetensors: eight bytes with the length of the head, the head as JSON, and the numbers.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path

LONGEST_HEAD = 100 * 2**20


class BrokenWeights(ValueError):
    """The file is cut short, or is something else."""


@dataclass(frozen=True)
class Head:
    """The shapes of the tensors by name, and what the file's author wrote into it."""

    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]

    @property
    def numbers(self) -> int:
        """How many there are in all tensors."""
        return sum(map(prod, self.shapes.values()))


def head(file: Path) -> Head:
    """Raises BrokenWeights for a file that is not whole."""
    try:
        status = file.stat()
    except OSError:
        raise BrokenWeights(file.name) from None
    return head_of(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1024)
def head_of(file: Path, size: int, _changed: int) -> Head:
    """Read again only when the file has changed."""
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if length > min(size - 8, LONGEST_HEAD):
                raise BrokenWeights(file.name)
            tensors = json.loads(opened.read(length))
        metadata = {str(name): str(value) for name, value in (tensors.pop("__metadata__", None) or {}).items()}
        end = max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
        shapes = {name: tuple(tensor["shape"]) for name, tensor in tensors.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise BrokenWeights(file.name) from None
    if size != 8 + length + end:
        raise BrokenWeights(file.name)
    return Head(shapes, metadata)


def digest(path: Path) -> str:
    """SHA-256 of a whole file."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def missing_part(folder: Path) -> str | None:
    """What a folder in diffusers format lacks to be whole, as a path in it; None when it lacks nothing."""
    for component, (_, kind) in components(folder).items():
        if not (folder / component).is_dir():
            return component
        part = missing_weights(folder / component) if is_network(kind) else missing_text(folder / component)
        if part is not None:
            return f"{component}/{part}"
    return None


def missing_text(folder: Path) -> str | None:
    """A part without weights has at least a configuration."""
    return None if any(folder.glob("*.json")) else "*.json"


# Parts that a pipeline names, and the studio does without.
UNUSED = ("safety_checker", "feature_extractor", "image_encoder")


def components(folder: Path) -> dict[str, tuple[str, str]]:
    """Library and class by component, from the folder's model_index.json."""
    index = json.loads((folder / "model_index.json").read_bytes())
    return named_components(index)


def named_components(index: dict[str, object]) -> dict[str, tuple[str, str]]:
    return {
        name: (str(value[0]), str(value[1]))
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and value[0] is not None and name not in UNUSED
    }


def is_network(kind: str) -> bool:
    """Whether a class has weights. All other parts of a pipeline are configuration."""
    return not any(part in kind for part in ("Scheduler", "Tokenizer", "Processor", "FeatureExtractor"))


def missing_weights(folder: Path) -> str | None:
    """Some set of safetensors, in one file or in as many as its index names, must be there to the last byte."""
    if not (folder / "config.json").is_file():
        return "config.json"
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return "*.safetensors"
    named = [file for index in folder.glob("*.safetensors.index*.json") for file in indexed(index)]
    for file in named or files:
        try:
            head(folder / Path(file).name)
        except BrokenWeights:
            return Path(file).name
    return None


def indexed(index: Path) -> set[str]:
    names: set[str] = set(json.loads(index.read_bytes())["weight_map"].values())
    return names


def weight_bytes(folder: Path) -> int:
    """How many bytes of weights lie in a folder in diffusers format, of those parts that are loaded."""
    return sum(
        file.stat().st_size for component in components(folder) for file in (folder / component).glob("*.safetensors")
    )


def weights_in(folder: Path) -> list[str]:
    """The files of weights below a folder, as paths in it."""
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.safetensors"))
