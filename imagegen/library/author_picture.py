"""The picture with which the author of a model or an adapter shows what it makes, where it is on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
# Beginnings of the names that authors give to the one picture that stands for all; others come after them.
PREFERRED_NAMES = ("cover", "preview", "thumbnail", "sample")
# Folders of a repository in which authors keep pictures.
PICTURE_FOLDERS = ("images", "samples", "assets")


def find_picture(path: Path) -> Path | None:
    """Returns the picture of a file or a folder on disk: the one that is named like the file, else the repository's.

    A picture that is a link to another folder than that of the owner or that of the repository is no picture.
    """
    snapshot = find_snapshot(path)
    root = snapshot.parents[1] if snapshot is not None else (path if path.is_dir() else path.parent)
    candidates = (*list_named_like(path), *list_of_folder(snapshot or (path if path.is_dir() else None)))
    return next((picture for picture in candidates if is_below(picture, root)), None)


def find_snapshot(path: Path) -> Path | None:
    """Returns the folder of a repository's version that has the path in it, or is it; None for other paths."""
    return next((each for each in (path, *path.parents) if each.parent.name == "snapshots"), None)


def list_named_like(path: Path) -> Iterator[Path]:
    """Yields `name.preview.png` and `name.png` beside `name.safetensors`."""
    if path.is_file():
        for ending in (f"{middle}{suffix}" for middle in (".preview", "") for suffix in PICTURE_SUFFIXES):
            picture = path.with_name(path.stem + ending)
            if picture.is_file():
                yield picture


def list_of_folder(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        for place in (folder, *(folder / name for name in PICTURE_FOLDERS)):
            files = [file for file in place.glob("*.*") if file.suffix.lower() in PICTURE_SUFFIXES]
            yield from sorted(files, key=lambda file: (not file.name.lower().startswith(PREFERRED_NAMES), file.name))


def is_below(picture: Path, root: Path) -> bool:
    """Returns whether the file that a path leads to is in a folder."""
    try:
        return picture.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):
        return False
