"""Removes from the configurations of a model what would make libraries download or run code."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

logger = logging.getLogger(__name__)

# transformers takes any other value of these as the name of a repository with kernels, which are code.
ATTENTION_KEYS = ("_attn_implementation", "_attn_implementation_internal", "attn_implementation")
KNOWN_ATTENTION = ("eager", "sdpa", None)
CODE_KEYS = (
    "auto_map",
    "custom_pipelines",
    "kernel_config",
    "trust_remote_code",
    "use_kernels",
    "_experts_implementation",
)
CONFIG_NAMES = ("config.json", "generation_config.json", "tokenizer_config.json", "scheduler_config.json")


@contextmanager
def open_safe_folder(folder: Path) -> Iterator[Path]:
    """Yields a folder to load a model in diffusers format from: the folder itself, if its configurations are safe.

    Otherwise a temporary folder with links to the same files, and safe configurations. Raises OSError and ValueError.
    """
    changed = dict(find_unsafe_configs(folder))
    if not changed:
        yield folder
        return
    logger.warning(
        "The configuration of a model names code, which is not used",
        extra={"action": "config_cleaned", "model": folder.name, "files": sorted(map(str, changed))},
    )
    with TemporaryDirectory() as temporary:
        link_files(folder, Path(temporary), changed)
        yield Path(temporary)


def find_unsafe_configs(folder: Path) -> Iterator[tuple[Path, Any]]:
    """Yields the relative path and the safe content of each configuration that is not safe."""
    for file in sorted((*folder.glob("*.json"), *folder.glob("*/*.json"))):
        if file.name in CONFIG_NAMES:
            config = json.loads(file.read_bytes())
            safe = remove_code(config)
            if safe != config:
                yield file.relative_to(folder), safe


def remove_code(value: Any) -> Any:
    """Returns a part of a configuration without the keys that name code, at any depth."""
    match value:
        case dict():
            return {name: remove_code(member) for name, member in value.items() if not is_code(name, member)}
        case list():
            return [remove_code(entry) for entry in value]
    return value


def is_code(name: str, value: Any) -> bool:
    return name in CODE_KEYS or (name in ATTENTION_KEYS and value not in KNOWN_ATTENTION)


def link_files(folder: Path, target: Path, changed: dict[Path, Any]) -> None:
    """Fills the empty folder `target` with links to the files of `folder`, and with the changed configurations."""
    for file in (*folder.glob("*"), *folder.glob("*/*")):
        relative = file.relative_to(folder)
        if file.is_dir():
            if len(relative.parts) == 1:
                (target / relative).mkdir()
        elif relative in changed:
            (target / relative).write_text(json.dumps(changed[relative]))
        else:
            (target / relative).symlink_to(file.absolute())
