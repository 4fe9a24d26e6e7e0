"""References from requests: repositories on the Hub, and files below a folder. Paths cannot leave the folder."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from imagegen.library.snapshots import HubFiles

REPOSITORY_PATTERN = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}")
# Bytes that file systems allow for one name, less a reserve.
MAX_NAME_CHARS = 200


def normalize_reference(reference: str) -> str:
    """Returns a reference without surrounding spaces, the Hub's address and a final slash."""
    return reference.strip().removeprefix("https://huggingface.co/").rstrip("/")


def parse_hub_reference(reference: str) -> HubFiles | None:
    """Parses `owner/name` or `owner/name/path/file.safetensors`. Returns None for anything else."""
    owner, _, rest = reference.partition("/")
    name, _, file = rest.partition("/")
    repository = f"{owner}/{name}"
    if not REPOSITORY_PATTERN.fullmatch(repository) or "--" in repository:
        return None
    if reference == repository:
        return HubFiles(repository)
    return HubFiles(repository, file) if file.endswith(".safetensors") and is_safe_path(file) else None


def find_below(folder: Path, reference: str) -> Path | None:
    """Returns the existing file or folder with that relative path, or None."""
    path = folder / reference
    try:
        return path if is_safe_path(reference) and path.exists() else None
    except (OSError, ValueError):
        return None


def find_outside_link(folder: Path, path: Path) -> Path | None:
    """Returns the first link to a target outside of `folder` among a path below it and two levels of its contents."""
    root = folder.resolve()
    parents = [parent for parent in path.parents if parent != folder and parent.is_relative_to(folder)]
    try:
        for each in (*reversed(parents), path, *path.glob("*"), *path.glob("*/*")):
            if each.is_symlink() and not each.resolve().is_relative_to(root):
                return each
    except (OSError, RuntimeError):  # RuntimeError: a link to itself.
        return path
    return None


def describe_outside_link(link: Path) -> str:
    return f"{link.name} is a link to a place outside of the models folder; the setting follow_links allows such links"


def is_safe_path(path: str) -> bool:
    """Returns whether a relative path stays below its folder, and has no hidden or overlong name in it."""
    parts = PurePosixPath(path).parts
    is_safe = bool(parts) and not any(part.startswith((".", "/")) or len(part) > MAX_NAME_CHARS for part in parts)
    return is_safe and "\0" not in path and "\\" not in path and is_encodable(path)


def is_encodable(text: str) -> bool:
    """Returns whether a text can be sent. The name of a file on disk may be bytes that are no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
