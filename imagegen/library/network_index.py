"""Networks beside models, such as ControlNets: a folder with a configuration and weights, or weights alone.

The path of weights in several files, which need a configuration beside them, is that of their index.
They are in the models folder, in the shipped folders, and in the Hub's caches.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from imagegen.errors import UnusableModel
from imagegen.library import references
from imagegen.library.adapters import Adapter, AdapterIndex
from imagegen.library.author_picture import find_picture
from imagegen.library.config_limits import find_config_problem
from imagegen.library.file_index import WEIGHTS_SUFFIX
from imagegen.library.shards import find_weights, is_index, is_shard, list_parts, name_whole
from imagegen.library.snapshots import HubFiles
from imagegen.library.weight_files import SafetensorsHeader, list_indexes, list_weight_files
from imagegen.schema.models import AdapterInfo

CONFIG_FILE = "config.json"
# How pictures are prepared for a network that looks at them, as transformers writes it.
PROCESSOR_FILE = "preprocessor_config.json"
# The names of weights in a folder, the best first.
FOLDER_WEIGHTS = ("diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.safetensors")


class NetworkIndex(AdapterIndex):
    """The id of a folder is its path; that of a file without a configuration beside it is its path without suffix."""

    @abstractmethod
    def _find_facts(self, reference: str, path: Path, header: SafetensorsHeader) -> dict[str, Any]:
        """Returns the fields of AdapterInfo that only this kind knows, with `architecture`.

        Raises UnusableModel for a file that is not of this kind, and NotOnDisk for a download that is not complete.
        """

    def _find_in_folders(self, reference: str) -> tuple[str, Path] | None:
        for folder in self.folders:
            path = references.find_below(folder, reference)
            if path is not None and path.is_dir() and (weights := find_folder_weights(path)) is not None:
                return reference, weights
        return super()._find_in_folders(reference)

    def _scan_folders(self) -> Iterator[tuple[str, Path]]:
        for folder in self.folders:
            for path in list_units(folder):
                unit = path.parent if has_config(path) else path.with_suffix("")
                if unit != folder:
                    yield unit.relative_to(folder).as_posix(), path

    def _scan_snapshot(self, repository: str) -> Iterator[tuple[str, Path]]:
        """Yields ids and paths. The id is the repository alone for the folder at its top, or for all it has."""
        snapshot = self.snapshots.find(HubFiles(repository), lambda version: bool(list_weight_files(version)))
        if snapshot is None or (snapshot / "model_index.json").exists():
            return
        units = list(list_units(snapshot))
        for path in units:
            is_whole = len(units) == 1 or (path.parent == snapshot and has_config(path))
            name = name_whole(path.relative_to(snapshot).as_posix())
            yield repository if is_whole else f"{repository}/{name}", path

    def _describe(self, reference: str, path: Path, header: SafetensorsHeader) -> Adapter:
        if is_shard(path.name):
            raise UnusableModel(
                reference, "it is one of several files of weights, and the index of these is missing", self.kind
            )
        facts = self._find_facts(reference, path, header)
        problem = find_config_problem(path.parent, (CONFIG_FILE,)) if has_config(path) else None
        if problem is not None:
            raise UnusableModel(reference, problem, self.kind)
        metadata = header.metadata
        info = AdapterInfo(
            kind=self.kind,
            id=reference,
            name=metadata.get("modelspec.title") or PurePosixPath(reference).name,
            description=metadata.get("modelspec.description"),
            licence=metadata.get("modelspec.license"),
            size=sum(part.stat().st_size for part in list_parts(path)),
            deletable=self.snapshots.is_download(path),
            has_picture=find_picture(path) is not None,
            **facts,
        )
        return Adapter(info, path)


def has_config(weights: Path) -> bool:
    """Returns whether a file of weights has a configuration beside it."""
    return (weights.parent / CONFIG_FILE).is_file()


def read_network_config(weights: Path) -> dict[str, Any]:
    """Returns the configuration beside a file of weights. Raises OSError and ValueError."""
    config = json.loads((weights.parent / CONFIG_FILE).read_bytes())
    if not isinstance(config, dict):
        raise ValueError(f"its {CONFIG_FILE} is no object")
    return config


def list_units(folder: Path) -> Iterator[Path]:
    """Yields the weights of each folder with a configuration, and each file of weights without one, in `folder`."""
    for file in filter(references.is_safe_path, sorted([*list_weight_files(folder), *list_indexes(folder)])):
        path = folder / file
        if path == find_folder_weights(path.parent) or not (has_config(path) or is_index(path.name)):
            yield path


def find_folder_weights(folder: Path) -> Path | None:
    """Returns the weights of a folder with a configuration, None for another folder."""
    if not (folder / CONFIG_FILE).is_file():
        return None
    names = [file.name for file in folder.iterdir()]
    found = find_weights(names) or {name: name for name in names if name.endswith(WEIGHTS_SUFFIX)}
    return folder / found[choose_weights(found)] if found else None


def choose_weights(names: Iterable[str]) -> str:
    """Returns the file to load of several with the same weights. There must be one."""
    return min(names, key=lambda name: (FOLDER_WEIGHTS.index(name) if name in FOLDER_WEIGHTS else 2, name))
