"""Names from outside: of a repository on the Hub, or of a file below a folder. None leads anywhere else."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from imagegen.library.snapshots import HubFiles

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}")
# What file systems allow for one name.
LONGEST_NAME = 200


def address(reference: str) -> str:
    """A reference as people type or paste it, without what surrounds it."""
    return reference.strip().removeprefix("https://huggingface.co/").rstrip("/")


def on_hub(reference: str) -> HubFiles | None:
    """`owner/name`, or `owner/name/path/file.safetensors`; None for what is neither."""
    owner, _, rest = reference.partition("/")
    name, _, file = rest.partition("/")
    repository = f"{owner}/{name}"
    if not REPOSITORY.fullmatch(repository) or "--" in repository:
        return None
    if reference == repository:
        return HubFiles(repository)
    return HubFiles(repository, file) if file.endswith(".safetensors") and is_plain(file) else None


def below(folder: Path, reference: str) -> Path | None:
    """What lies in the folder under that name; None when there is nothing."""
    path = folder / reference
    try:
        return path if is_plain(reference) and path.exists() else None
    except (OSError, ValueError):
        return None


def is_plain(path: str) -> bool:
    """Whether a relative path leads down only, by names that are neither hidden nor too long."""
    parts = PurePosixPath(path).parts
    plain = bool(parts) and not any(part.startswith((".", "/")) or len(part) > LONGEST_NAME for part in parts)
    return plain and "\0" not in path and "\\" not in path
