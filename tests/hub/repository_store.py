"""The repositories of the stand-in as folders `<owner>/<name>`, built at the first request."""

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
    """`readers` can read it even if it is private or gated. `reported_sizes` are false sizes in bytes, by file name."""

    about: str = ""
    build: Callable[[Path], None] | None = None
    private: bool = False
    gated: bool = False
    readers: frozenset[str] = frozenset({"studio"})
    reported_sizes: Mapping[str, int] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict)


class StoredFile(NamedTuple):
    """A file. `git` is its git blob hash, `sha256` its hash in large file storage, `size` is in bytes."""

    name: str
    path: Path
    git: str
    sha256: str
    size: int

    @property
    def is_large(self) -> bool:
        return self.name.endswith(LARGE)


class RepositoryStore:
    """Folders under `root`. Those without an entry in `repositories` are public."""

    def __init__(self, root: Path, repositories: Mapping[str, Repository]) -> None:
        self.root = root
        self.repositories = repositories
        self._sums: dict[tuple[Path, int], tuple[str, str]] = {}
        self._building = threading.Lock()

    def find_repository(self, repository_id: str) -> Repository | None:
        """Returns the repository, or None."""
        repository = self.repositories.get(repository_id)
        if repository is not None or ".." in repository_id or not (self.root / repository_id).is_dir():
            return repository
        return Repository()

    def folder(self, repository_id: str) -> Path:
        """Returns the folder of the repository's files. Builds them at the first call."""
        path, repository = self.root / repository_id, self.repositories.get(repository_id)
        with self._building:
            if repository is not None and repository.build is not None and not path.exists():
                unfinished = path.with_name(f".{path.name}")
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir(parents=True)
                repository.build(unfinished)
                unfinished.rename(path)
        return path

    def files(self, repository_id: str) -> dict[str, StoredFile]:
        base = self.folder(repository_id)
        reported_sizes = self.repositories.get(repository_id, Repository()).reported_sizes
        files = {}
        for path in sorted(path for path in base.rglob("*") if path.is_file()):
            name, size = path.relative_to(base).as_posix(), path.stat().st_size
            files[name] = StoredFile(name, path, *self._digests(path), reported_sizes.get(name, size))
        return files

    def commit(self, repository_id: str) -> str:
        """Returns a commit that changes with any file, because the client caches listings by commit."""
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
