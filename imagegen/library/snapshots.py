"""Repositories on disk in the Hub's cache layout: in the studio's folder, and in the cache shared with other tools."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path

from imagegen.library.catalogue import CatalogueEntry


@dataclass(frozen=True)
class HubFiles:
    """A repository on the Hub, or one file of it.

    `revision` pins a commit; `variant` selects one of several sets of weights.
    """

    repository: str
    file: str | None = None
    revision: str | None = None
    variant: str | None = None

    @classmethod
    def from_entry(cls, entry: CatalogueEntry) -> HubFiles:
        """Returns the files of a catalogue entry that has a repository."""
        return cls(entry.repository or "", entry.file, entry.revision, entry.variant)


class Snapshots:
    """Folders in the Hub's cache layout. Downloads go to the first; the others are only read."""

    def __init__(self, *folders: Path) -> None:
        self.folders = folders

    def find(self, hub_files: HubFiles, is_usable: Callable[[Path], bool] = Path.exists) -> Path | None:
        """Returns the newest usable version, or the pinned one: its folder, or the one file. None if there is none."""
        for snapshot in self._list_versions(hub_files.repository):
            path = snapshot / hub_files.file if hub_files.file else snapshot
            if hub_files.revision in (None, snapshot.name) and path.exists() and is_usable(path):
                return path
        return None

    def list_repositories(self) -> list[str]:
        """Returns the names of all repositories in all folders, sorted."""
        names = {path.name for folder in self.folders for path in folder.glob("models--*--*")}
        return sorted(name.removeprefix("models--").replace("--", "/", 1) for name in names)

    def get_revision(self, path: Path) -> str | None:
        """Returns the commit that a path below a snapshot belongs to, or None."""
        parts = path.absolute().parts
        return parts[parts.index("snapshots") + 1] if "snapshots" in parts else None

    def get_repository_folder(self, repository: str) -> Path:
        """Returns the folder that downloads of the repository go to; it need not exist."""
        return self.folders[0] / f"models--{repository.replace('/', '--')}"

    def is_download(self, path: Path) -> bool:
        """Returns whether a path is in the studio's own download folder, so that it may be deleted."""
        return Path(normpath(path.absolute())).is_relative_to(self.folders[0].absolute()) if self.folders else False

    def _list_versions(self, repository: str) -> Iterator[Path]:
        name = f"models--{repository.replace('/', '--')}"
        for folder in self.folders:
            versions = (folder / name / "snapshots").glob("*")
            yield from sorted(versions, key=lambda version: version.stat().st_mtime, reverse=True)
