"""Files that are one resource each, such as LoRAs: shipped ones, those in the models folder, and those of the Hub."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Generic, Protocol, TypeVar

from imagegen.errors import NotOnDisk, UnknownModel, UnusableModel
from imagegen.library import references
from imagegen.library.checksums import Checksums
from imagegen.library.model_info import READ_ERRORS
from imagegen.library.shards import is_index, list_parts, name_whole
from imagegen.library.snapshots import HubFiles, Snapshots
from imagegen.library.weight_files import (
    BrokenWeights,
    SafetensorsHeader,
    find_empty_file,
    list_weight_files,
    read_header,
)

WEIGHTS_SUFFIX = ".safetensors"
PICKLE_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin")
PICKLE_PROBLEM = "it is a pickle, which may run code; convert it to safetensors"


class FileInfo(Protocol):
    @property
    def id(self) -> str: ...


class FileEntry(Protocol):
    @property
    def info(self) -> FileInfo: ...


EntryT = TypeVar("EntryT", bound=FileEntry)


class FileIndex(ABC, Generic[EntryT]):
    """All files of one kind, in safetensors format. A pickle is refused: it could run code.

    The id of a local file is its path below its folder, without `.safetensors`.
    """

    def __init__(
        self,
        kind: str,
        folders: tuple[Path, ...],
        snapshots: Snapshots,
        checksums: Checksums | None = None,
        follow_links: bool = False,
    ) -> None:
        self.kind, self.folders, self.snapshots, self.follow_links = kind, folders, snapshots, follow_links
        self.checksums = checksums or Checksums()

    def get(self, reference: str) -> EntryT:
        """Returns the one with this id, file name or Hub reference.

        Raises UnknownModel, NotOnDisk and UnusableModel.
        """
        self._check_pickle(reference)
        located = self._find_in_folders(reference) or self._find_downloaded(reference)
        if located is None:
            raise UnknownModel(self.kind, reference, self.list_ids())
        return self._read(*located)

    def list_available(self, has_some: Callable[[str], bool] = lambda _: True) -> list[EntryT]:
        """Returns all usable files, each id once. For a file that cannot be used, `get` raises the reason.

        Of the repositories of the Hub, it looks into those for whose name `has_some` returns True.
        """
        entries: dict[str, EntryT] = {}
        for reference, path in (*self._scan_folders(), *self._scan_caches(has_some)):
            try:
                entries.setdefault(reference, self._read(reference, path))
            except (UnusableModel, NotOnDisk):
                continue
        return list(entries.values())

    def list_refused(self) -> list[UnusableModel]:
        """Returns why files in the folders cannot be used. What another file needs is not among them."""
        refusals = []
        for reference, path in self._scan_folders():
            try:
                self._read(reference, path)
            except UnusableModel as refusal:
                if not self._is_part(path):
                    refusals.append(refusal)
            except NotOnDisk:
                continue
        return [*refusals, *self._refuse_pickles()]

    def _refuse_pickles(self) -> Iterator[UnusableModel]:
        """Yields an error for each pickle in the folders without a usable file of the same name."""
        for folder in self.folders:
            for path in sorted(folder.rglob("*")):
                name = path.relative_to(folder).as_posix()
                if path.suffix in PICKLE_SUFFIXES and path.is_file() and not path.with_suffix(WEIGHTS_SUFFIX).exists():
                    yield UnusableModel(name, PICKLE_PROBLEM, self.kind)

    def _is_part(self, path: Path) -> bool:
        """Returns whether a file belongs to resources of this kind without being one."""
        return False

    def get_hub_files(self, reference: str) -> HubFiles | None:
        """Returns the files to download for a reference; None for a local file.

        Raises UnknownModel and UnusableModel.
        """
        self._check_pickle(reference)
        if self._find_in_folders(reference) is not None:
            return None
        hub_files = references.parse_hub_reference(reference)
        if hub_files is None:
            raise UnknownModel(self.kind, reference, self.list_ids())
        return hub_files

    def list_ids(self) -> list[str]:
        return [entry.info.id for entry in self.list_available()]

    @abstractmethod
    def _describe(self, reference: str, path: Path, header: SafetensorsHeader) -> EntryT:
        """Returns what is known of a file.

        Raises UnusableModel for one that is not of this kind, and NotOnDisk for one that lacks another file.
        """

    def _check_pickle(self, reference: str) -> None:
        """Raises UnusableModel for the name of a pickle, and for one without its suffix where there is nothing else."""
        is_pickle = PurePosixPath(reference).suffix in PICKLE_SUFFIXES
        if is_pickle or (self._find_in_folders(reference) is None and self._find_pickle(reference)):
            raise UnusableModel(reference, PICKLE_PROBLEM, self.kind)

    def _find_pickle(self, reference: str) -> bool:
        paths = (
            references.find_below(folder, reference + suffix) for folder in self.folders for suffix in PICKLE_SUFFIXES
        )
        return any(path is not None and path.is_file() for path in paths)

    def _find_in_folders(self, reference: str) -> tuple[str, Path] | None:
        """Returns the id and the path."""
        name = reference.removesuffix(WEIGHTS_SUFFIX)
        paths = (references.find_below(folder, name + WEIGHTS_SUFFIX) for folder in self.folders)
        return next(((name, path) for path in paths if path is not None and path.is_file()), None)

    def _find_downloaded(self, reference: str) -> tuple[str, Path] | None:
        hub_files = references.parse_hub_reference(reference)
        if hub_files is None:
            return None
        paths = dict(self._scan_snapshot(hub_files.repository))
        if hub_files.file is None and hub_files.repository in paths:
            return hub_files.repository, paths[hub_files.repository]
        files = [
            name
            for name in paths
            if hub_files.file is None or name_whole(paths[name].as_posix()).endswith(f"/{hub_files.file}")
        ]
        if not files:
            raise NotOnDisk(reference, self.kind)
        if len(files) > 1:
            raise UnusableModel(reference, describe_choice(files), self.kind)
        return files[0], paths[files[0]]

    def _scan_folders(self) -> Iterator[tuple[str, Path]]:
        for folder in self.folders:
            for file in list_weight_files(folder):
                if references.is_safe_path(file):
                    yield file.removesuffix(WEIGHTS_SUFFIX), folder / file

    def _scan_caches(self, has_some: Callable[[str], bool]) -> Iterator[tuple[str, Path]]:
        for repository in filter(has_some, self.snapshots.list_repositories()):
            yield from self._scan_snapshot(repository)

    def _scan_snapshot(self, repository: str) -> Iterator[tuple[str, Path]]:
        """Yields ids and paths. The id is the repository alone if it has one file, else the repository and the file."""
        snapshot = self.snapshots.find(HubFiles(repository), lambda version: bool(list_weight_files(version)))
        if snapshot is None or (snapshot / "model_index.json").exists():
            return
        files = list_weight_files(snapshot)
        for file in files:
            yield repository if len(files) == 1 else f"{repository}/{file}", snapshot / file

    def _read(self, reference: str, path: Path) -> EntryT:
        try:
            for file in (path, *read_part_paths(path)):
                self._check_links(reference, file)
            if self.snapshots.is_download(path) and find_empty_file(path.parent) is not None:
                raise NotOnDisk(reference, self.kind)
            return self._describe(reference, path, read_header(path))
        except BrokenWeights as error:
            if is_index(path.name):
                part = str(error)
                raise UnusableModel(reference, f"its file {part} is missing or damaged", self.kind) from None
            raise UnusableModel(reference, "it is not a complete safetensors file", self.kind) from None
        except READ_ERRORS:
            raise UnusableModel(reference, "its tensors or its metadata cannot be read", self.kind) from None

    def _check_links(self, reference: str, path: Path) -> None:
        """Raises UnusableModel for a link in one of the folders to a file outside of it."""
        folder = next((folder for folder in self.folders if path.is_relative_to(folder)), None)
        if folder is not None and not self.follow_links:
            link = folder if folder.is_symlink() else references.find_outside_link(folder, path)
            if link is not None:
                raise UnusableModel(reference, references.describe_outside_link(link), self.kind)


def read_part_paths(path: Path) -> list[Path]:
    """Returns the files of weights. Raises BrokenWeights for an index that cannot be read."""
    try:
        return list_parts(path)
    except READ_ERRORS:
        raise BrokenWeights(path.name) from None


def describe_choice(names: Sequence[str]) -> str:
    """Returns the problem text for a repository with several files; it lists the first 20."""
    return f"it has several files; name one of them: {', '.join(names[:20])}"
