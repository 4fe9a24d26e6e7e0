"""Finds the models, LoRAs and other files that a picture names among those on disk."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from imagegen.errors import InvalidRequest
from imagegen.library.checksums import Checksums
from imagegen.media.metadata import notes
from imagegen.media.metadata.found import NamedFile, ResourceKind
from imagegen.model_manager import ModelManager
from imagegen.schema.models import AdapterKind

# Fewer digits say too little, and those of 8 are of another algorithm.
MIN_CHECKSUM_DIGITS, SHA256_DIGITS = 10, 64
ON_DISK = ("on disk", "in memory")
ADAPTER_KINDS: Mapping[ResourceKind, AdapterKind] = {
    "lora": "lora",
    "vae": "vae",
    "embedding": "embedding",
    "controlnet": "controlnet",
    "ip_adapter": "ip_adapter",
    "detector": "detector",
}


@dataclass(frozen=True)
class LocalFile:
    """A file on disk: its id, its names, and what returns its SHA-256, or None if only reading it could tell."""

    id: str
    names: tuple[str, ...]
    find_checksum: Callable[[], str | None]


@dataclass(frozen=True)
class Match:
    """What a name in a picture means here, and what is to be said about it."""

    id: str
    status: Literal["matched", "mapped"]
    note: str = ""


class LocalFiles:
    """Reads the disk once for each kind: a picture may name any number of files."""

    def __init__(self, manager: ModelManager) -> None:
        self.manager = manager
        self._known: dict[ResourceKind, list[LocalFile]] = {}

    def find(self, kind: ResourceKind, file: NamedFile) -> Match | None:
        """Returns the file with the same checksum, or else with the same name; None if there is none."""
        checksum = file.checksum.casefold() if len(file.checksum) >= MIN_CHECKSUM_DIGITS else ""
        wanted = {simplify(name) for name in (file.name, file.stem) if name} - {""}
        local_files = self._known[kind] if kind in self._known else list(self._list(kind))
        self._known[kind] = local_files
        if checksum:
            for local in local_files:
                if (local.find_checksum() or "").startswith(checksum):
                    return Match(local.id, "matched", "" if wanted & set(local.names) else notes.FOUND_BY_CHECKSUM)
        named = next((local for local in local_files if wanted & set(local.names)), None)
        if named is None:
            return None
        # Of other files, tools write the start of a checksum of their tensors alone, which compares with nothing here.
        is_comparable = checksum and (kind == "model" or len(checksum) == SHA256_DIGITS)
        if is_comparable and named.find_checksum() is not None:
            return Match(named.id, "mapped", notes.OTHER_FILE)
        return Match(named.id, "matched", notes.UNCHECKED_FILE)

    def _list(self, kind: ResourceKind) -> Iterator[LocalFile]:
        if kind == "model":
            yield from self._list_models()
        elif kind == "upscaler":
            for info in self.manager.list_upscalers():
                yield LocalFile(info.id, simplify_names(info.id, info.name), lambda: None)
        else:
            yield from self._list_adapters(ADAPTER_KINDS[kind])

    def _list_adapters(self, kind: AdapterKind) -> Iterator[LocalFile]:
        index = self.manager.library.adapters[kind]
        for adapter in index.list_available():
            names = simplify_names(adapter.info.id, adapter.info.name)
            yield LocalFile(adapter.info.id, names, partial(find_checksum, index.checksums, adapter.path))

    def _list_models(self) -> Iterator[LocalFile]:
        for status in self.manager.list_models():
            info = status.model
            if status.state in ON_DISK:
                names = simplify_names(info.id, info.name, info.repository or "")
                yield LocalFile(info.id, names, partial(self._find_model_checksum, info.id))

    def _find_model_checksum(self, model_id: str) -> str | None:
        try:
            return self.manager.find_model_sha256(self.manager.resolve_model(model_id)[1])
        except InvalidRequest:
            return None


def find_checksum(checksums: Checksums, file: Path) -> str | None:
    try:
        return checksums.find(file)
    except OSError:
        return None


def simplify_names(*names: str) -> tuple[str, ...]:
    """Returns names in one spelling: as they are, and as the file that they end with."""
    spellings = (simplify(spelling) for name in names for spelling in (name, NamedFile(name).stem))
    return tuple(dict.fromkeys(spelling for spelling in spellings if spelling))


def simplify(name: str) -> str:
    """Returns a name without case, spaces and signs, which tools change in names of files."""
    return re.sub(r"[\W_]", "", name.casefold().removesuffix(".safetensors"))
