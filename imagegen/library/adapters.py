"""LoRAs and textual inversions: shipped, in the models folder, and in the caches of the Hub."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from imagegen.errors import NotOnDisk, UnknownModel, UnusableModel
from imagegen.info import AdapterInfo, AdapterKind, AdapterSource
from imagegen.library import architectures, references
from imagegen.library.snapshots import HubFiles, Snapshots
from imagegen.library.weights import BrokenWeights, Head, digest, head, weights_in

ARCHITECTURE = {"lora": architectures.of_lora, "embedding": architectures.of_embedding}
# Ends of names that tell a LoRA or an embedding from any other file of weights.
MARKS = ("lora_down.weight", "lora_A.weight", "lora.down.weight", "lora_A.default.weight")
# Relatives of LoRA that change weights in another way.
OTHERS = (("dora_scale", "DoRA"), ("hada_w1", "LoHa"), ("lokr_w", "LoKr"), ("oft_", "OFT"))
# What tools call the vectors of an embedding when they do not name its word.
NAMELESS = ("emb_params", "clip_l", "clip_g", "text_encoders_0", "text_encoders_1")
ENDING = ".safetensors"
# Training tools count the words of all captions; those that come first call the LoRA up.
MOST_WORDS = 5


@dataclass(frozen=True)
class Adapter:
    info: AdapterInfo
    path: Path


class Adapters:
    """Those of one kind. A name is that of a file in one of the folders, with or without its ending."""

    def __init__(self, kind: AdapterKind, folders: tuple[Path, ...], snapshots: Snapshots) -> None:
        self.kind, self.folders, self.snapshots = kind, folders, snapshots

    def get(self, reference: str) -> Adapter:
        """Raises UnknownModel, NotOnDisk and UnusableModel."""
        found = self._in_folders(reference) or self._downloaded(reference)
        if found is None:
            raise UnknownModel(self.kind, reference, [adapter.info.id for adapter in self.all()])
        return self._described(*found)

    def all(self) -> list[Adapter]:
        """What can be used; what cannot is told to whoever asks for it by name."""
        found: dict[str, Adapter] = {}
        for reference, path in (*self._lying_in_folders(), *self._lying_in_caches()):
            try:
                found.setdefault(reference, self._described(reference, path))
            except UnusableModel:
                continue
        return list(found.values())

    def on_hub(self, reference: str) -> HubFiles | None:
        """What to download, None when it comes from elsewhere. Raises UnknownModel."""
        if self._in_folders(reference) is not None:
            return None
        wanted = references.on_hub(reference)
        if wanted is None:
            raise UnknownModel(self.kind, reference, [adapter.info.id for adapter in self.all()])
        return wanted

    def source(self, reference: str, weight: float = 1.0) -> AdapterSource:
        """Reads the whole file once, for its checksum."""
        adapter = self.get(reference)
        return AdapterSource(
            kind=self.kind,
            id=adapter.info.id,
            name=adapter.info.name,
            path=adapter.path.absolute(),
            sha256=checksum(adapter.path),
            architecture=adapter.info.architecture,
            trigger=adapter.info.trigger,
            weight=weight,
        )

    def _in_folders(self, reference: str) -> tuple[str, Path] | None:
        """Its one name, and where it lies."""
        name = reference.removesuffix(ENDING)
        paths = (references.below(folder, name + ENDING) for folder in self.folders)
        return next(((name, path) for path in paths if path is not None and path.is_file()), None)

    def _downloaded(self, reference: str) -> tuple[str, Path] | None:
        wanted = references.on_hub(reference)
        if wanted is None:
            return None
        lying = dict(self._in_snapshot(wanted.repository))
        files = [name for name in lying if wanted.file is None or lying[name].as_posix().endswith(f"/{wanted.file}")]
        if not files:
            raise NotOnDisk(reference, self.kind)
        if len(files) > 1:
            raise UnusableModel(reference, several(files), self.kind)
        return files[0], lying[files[0]]

    def _lying_in_folders(self) -> Iterator[tuple[str, Path]]:
        for folder in self.folders:
            for file in weights_in(folder):
                if references.is_plain(file):
                    yield file.removesuffix(ENDING), folder / file

    def _lying_in_caches(self) -> Iterator[tuple[str, Path]]:
        for repository in self.snapshots.repositories():
            yield from self._in_snapshot(repository)

    def _in_snapshot(self, repository: str) -> Iterator[tuple[str, Path]]:
        """A repository with one file is called by its own name, each of several by its file's too."""
        snapshot = self.snapshots.find(HubFiles(repository), lambda version: bool(weights_in(version)))
        if snapshot is None or (snapshot / "model_index.json").exists():
            return
        files = weights_in(snapshot)
        for file in files:
            yield repository if len(files) == 1 else f"{repository}/{file}", snapshot / file

    def _described(self, reference: str, path: Path) -> Adapter:
        try:
            found = head(path)
        except BrokenWeights:
            raise UnusableModel(reference, "it is no whole safetensors file", self.kind) from None
        other = next((name for mark, name in OTHERS if any(mark in key for key in found.shapes)), None)
        if self.kind == "lora" and other is not None:
            raise UnusableModel(reference, f"it is a {other}, and only plain LoRAs are put on", self.kind)
        if not is_adapter(self.kind, found):
            raise UnusableModel(reference, f"it holds no {self.kind}", self.kind)
        info = adapter_info(self.kind, reference, path, found)
        return Adapter(info.model_copy(update={"deletable": self.snapshots.is_download(path)}), path)


def several(names: Sequence[str]) -> str:
    return f"it holds several files; say which: {', '.join(names[:20])}"


def is_adapter(kind: AdapterKind, found: Head) -> bool:
    if kind == "lora":
        return any(name.endswith(MARKS) for name in found.shapes)
    return 0 < len(found.shapes) <= 2 and all(0 < len(shape) <= 2 for shape in found.shapes.values())


def adapter_info(kind: AdapterKind, reference: str, path: Path, found: Head) -> AdapterInfo:
    said = found.metadata
    plain = reference if "snapshots" in path.parts else path.stem
    base = ("ss_base_model_version", "ss_sd_model_name", "modelspec.architecture")
    return AdapterInfo(
        kind=kind,
        id=reference,
        name=said.get("modelspec.title") or said.get("ss_output_name") or plain,
        architecture=ARCHITECTURE[kind](found),
        trigger=trigger(said) if kind == "lora" else (token(reference, found),),
        base_model=next((said[name] for name in base if said.get(name)), None),
        description=said.get("modelspec.description"),
        licence=said.get("modelspec.license"),
        size=path.stat().st_size,
    )


def token(reference: str, found: Head) -> str:
    """The word that calls a textual inversion up: the one it was trained by, else the name of its file."""
    for name in found.shapes:
        if name not in NAMELESS:
            return name.strip("<>")
    return PurePosixPath(reference).name.removesuffix(".safetensors")


def trigger(metadata: dict[str, str]) -> tuple[str, ...]:
    """What to write in a prompt: what the author says, else the words that most of the training captions held."""
    if phrase := metadata.get("modelspec.trigger_phrase"):
        return (phrase,)
    try:
        counts: dict[str, int] = {}
        for folder in json.loads(metadata.get("ss_tag_frequency", "{}")).values():
            for word, count in folder.items():
                counts[word.strip()] = counts.get(word.strip(), 0) + count
    except (ValueError, TypeError, AttributeError):
        return ()
    return tuple(sorted(counts, key=lambda word: -counts[word])[:MOST_WORDS])


def checksum(path: Path) -> str:
    status = path.stat()
    return checksum_of(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1024)
def checksum_of(path: Path, _size: int, _changed: int) -> str:
    """SHA-256 of a file, read again only when it changed."""
    return digest(path)
