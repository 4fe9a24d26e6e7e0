"""What the stand-in holds: repositories as folders `<owner>/<name>`, built when first asked for."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.hub.faults import Fault

CHUNK = 1 << 20
LARGE = (".safetensors", ".bin", ".ckpt", ".pt", ".pth", ".gguf", ".png")


@dataclass(frozen=True)
class Repository:
    """`readers` see it although it is private or gated. `claims` are false sizes in bytes, by file name."""

    about: str = ""
    build: Callable[[Path], None] | None = None
    private: bool = False
    gated: bool = False
    readers: frozenset[str] = frozenset({"studio"})
    claims: Mapping[str, int] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict)


class Stored(NamedTuple):
    """A file: `git` is its name as a blob of git, `sha256` that in large file storage. `size` is in bytes."""

    name: str
    path: Path
    git: str
    sha256: str
    size: int

    @property
    def large(self) -> bool:
        return self.name.endswith(LARGE)


class Shelf:
    """Folders under `root`. One that nothing is said about in `repositories` is public."""

    def __init__(self, root: Path, repositories: Mapping[str, Repository]) -> None:
        self.root = root
        self.repositories = repositories
        self._sums: dict[tuple[Path, int], tuple[str, str]] = {}
        self._building = threading.Lock()

    def about(self, repository_id: str) -> Repository | None:
        """None if there is no such repository."""
        known = self.repositories.get(repository_id)
        if known is not None or ".." in repository_id or not (self.root / repository_id).is_dir():
            return known
        return Repository()

    def folder(self, repository_id: str) -> Path:
        """The repository's files. Builds them at the first call."""
        path, known = self.root / repository_id, self.repositories.get(repository_id)
        with self._building:
            if known is not None and known.build is not None and not path.exists():
                unfinished = path.with_name(f".{path.name}")
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir(parents=True)
                known.build(unfinished)
                unfinished.rename(path)
        return path

    def files(self, repository_id: str) -> dict[str, Stored]:
        base = self.folder(repository_id)
        claims = self.repositories.get(repository_id, Repository()).claims
        found = {}
        for path in sorted(path for path in base.rglob("*") if path.is_file()):
            name, size = path.relative_to(base).as_posix(), path.stat().st_size
            found[name] = Stored(name, path, *self._digests(path), claims.get(name, size))
        return found

    def commit(self, repository_id: str) -> str:
        """Changes with any file: the client keeps listings by commit."""
        sums = [f"{name} {file.git} {file.size}" for name, file in self.files(repository_id).items()]
        return hashlib.sha1("\n".join([repository_id, *sums]).encode()).hexdigest()

    def _digests(self, path: Path) -> tuple[str, str]:
        status = path.stat()
        key = (path, status.st_mtime_ns)
        if key not in self._sums:
            git, sha256 = hashlib.sha1(b"blob %d\0" % status.st_size), hashlib.sha256()
            with path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    git.update(chunk)
                    sha256.update(chunk)
            self._sums[key] = git.hexdigest(), sha256.hexdigest()
        return self._sums[key]
