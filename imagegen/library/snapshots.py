"""What was downloaded from the Hub: its own layout of folders, in ours and in the cache that other programs share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path

from imagegen.library.catalogue import Entry


@dataclass(frozen=True)
class HubFiles:
    """A repository on the Hub, or one file in it.

    `revision` pins a commit, `variant` is one of several sets of weights.
    """

    repository: str
    file: str | None = None
    revision: str | None = None
    variant: str | None = None

    @classmethod
    def of(cls, entry: Entry) -> HubFiles:
        return cls(entry.repository or "", entry.file, entry.revision, entry.variant)


class Snapshots:
    """The first folder is where downloads go; what lies in the others is used as it is."""

    def __init__(self, *folders: Path) -> None:
        self.folders = folders

    def find(self, wanted: HubFiles, fits: Callable[[Path], bool] = Path.exists) -> Path | None:
        """The newest version on disk that fits, or the pinned one: a folder, or the one file."""
        for snapshot in self._versions(wanted.repository):
            path = snapshot / wanted.file if wanted.file else snapshot
            if wanted.revision in (None, snapshot.name) and path.exists() and fits(path):
                return path
        return None

    def repositories(self) -> list[str]:
        """By name, wherever they lie."""
        names = {path.name for folder in self.folders for path in folder.glob("models--*--*")}
        return sorted(name.removeprefix("models--").replace("--", "/", 1) for name in names)

    def revision(self, path: Path) -> str | None:
        """The commit that a file or folder belongs to."""
        parts = path.absolute().parts
        return parts[parts.index("snapshots") + 1] if "snapshots" in parts else None

    def repository_folder(self, repository: str) -> Path:
        """Where its downloads lie."""
        return self.folders[0] / f"models--{repository.replace('/', '--')}"

    def is_download(self, path: Path) -> bool:
        """Whether the studio brought it, and so may delete it."""
        return Path(normpath(path.absolute())).is_relative_to(self.folders[0].absolute()) if self.folders else False

    def _versions(self, repository: str) -> Iterator[Path]:
        name = f"models--{repository.replace('/', '--')}"
        for folder in self.folders:
            versions = (folder / name / "snapshots").glob("*")
            yield from sorted(versions, key=lambda version: version.stat().st_mtime, reverse=True)
