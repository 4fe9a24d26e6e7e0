"""Weights in several files: shards, and the index that says which tensor is in which of them.

diffusers and transformers write `NAME-00001-of-00002.safetensors` and `NAME.safetensors.index.json`; of a variant such
as fp16, `NAME.fp16-00001-of-00002.safetensors` and `NAME.safetensors.index.fp16.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

SHARD_PATTERN = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")
INDEX_PATTERN = re.compile(r"\.safetensors\.index(\.[\w-]+)?\.json$")


def is_shard(name: str) -> bool:
    return SHARD_PATTERN.search(name) is not None


def is_index(name: str) -> bool:
    return INDEX_PATTERN.search(name) is not None


def name_whole(name: str) -> str:
    """Returns the path that weights with this index or this shard would have as one file; another path as it is."""
    return SHARD_PATTERN.sub(".safetensors", INDEX_PATTERN.sub(lambda match: f"{match[1] or ''}.safetensors", name))


def find_weights(names: Iterable[str]) -> dict[str, str]:
    """Returns each set of weights among the paths of files: its file or its index, by the path that it has as one file.

    Of weights that are there both ways, it is the one file.
    """
    found = [name for name in names if is_index(name) or (name.endswith(".safetensors") and not is_shard(name))]
    return {name_whole(name): name for name in sorted(found, key=is_index, reverse=True)}


def parse_weight_map(index: Mapping[str, object]) -> dict[str, str]:
    """Returns the name of the file of each tensor. Raises ValueError."""
    weight_map = index.get("weight_map") if isinstance(index, Mapping) else None
    if not isinstance(weight_map, Mapping) or not weight_map:
        raise ValueError("it has no weight_map")
    for name in set(map(str, weight_map.values())):
        if PurePosixPath(name).name != name or not name.endswith(".safetensors"):
            raise ValueError("its weight_map names other files than shards beside it")
    return {str(tensor): str(name) for tensor, name in weight_map.items()}


def read_weight_map(index: Path) -> dict[str, str]:
    """Returns the name of the file of each tensor in an index on disk. Raises OSError and ValueError."""
    return parse_weight_map(json.loads(index.read_bytes()))


def list_parts(path: Path) -> list[Path]:
    """Returns the files of weights: the one file, or the shards in an index. Raises OSError and ValueError."""
    if not is_index(path.name):
        return [path]
    return [path.with_name(name) for name in sorted(set(read_weight_map(path).values()))]
