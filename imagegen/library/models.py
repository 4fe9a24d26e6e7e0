"""The models that there are: in the catalogue, in the models folder, and in the caches of the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imagegen.errors import UnknownModel, UnusableModel
from imagegen.info import ModelInfo, ModelSource
from imagegen.library import references
from imagegen.library.catalogue import Entry, catalogue
from imagegen.library.checkpoints import recognised
from imagegen.library.describing import UNREADABLE, model_info, pipeline_of, read
from imagegen.library.snapshots import HubFiles, Snapshots
from imagegen.library.weights import BrokenWeights, head, missing_part, weights_in

# Folders in the models folder that hold something else.
RESERVED = ("loras", "embeddings")
# What of an entry decides which weights it has.
PLACE = ("repository", "file", "path", "config", "revision", "variant", "pipeline", "trailing", "quantization")


@dataclass(frozen=True)
class Model:
    """A model, and where it lies; `source` is None while it is not on disk."""

    info: ModelInfo
    entry: Entry
    source: ModelSource | None


class Models:
    """`shipped` and `folder` may each hold a catalogue. Nothing is kept in mind: disks change."""

    def __init__(self, shipped: Path, folder: Path, snapshots: Snapshots) -> None:
        self.folder, self.snapshots = folder, snapshots
        self.entries = catalogue(shipped, folder)

    @property
    def first(self) -> str:
        """What is used when nobody says otherwise."""
        return next(iter(self.entries))

    @property
    def first_name(self) -> str:
        return self.entries[self.first].name

    def get(self, reference: str) -> Model:
        """By id, by repository, or by the name of a file or folder. Raises UnknownModel and UnusableModel."""
        entry = (
            self.entries.get(reference)
            or self._of_repository(reference)
            or self._in_folder(reference)
            or self._whole_repository(reference)
        )
        if entry is None:
            raise UnknownModel("model", reference, self.entries)
        return self.described(entry)

    def on_hub(self, reference: str) -> HubFiles | None:
        """What to download for a model, None when it comes from elsewhere. Raises UnknownModel."""
        entry = self.entries.get(reference) or self._of_repository(reference)
        if entry is not None:
            return HubFiles.of(entry) if entry.repository else None
        if self._in_folder(reference) is not None:
            return None
        wanted = references.on_hub(reference)
        if wanted is None:
            raise UnknownModel("model", reference, self.entries)
        return wanted

    def canonical(self, reference: str) -> str:
        """The one name for what may have several: a catalogued model is called by its id."""
        entry = self.entries.get(reference) or self._of_repository(reference)
        return entry.id if entry is not None else reference

    def all(self) -> list[Model]:
        """The catalogue's, then what lies in the folder, then what else of the Hub is on disk and can be used."""
        found = [self._shown(entry) for entry in self.entries.values()]
        for entry in (*self._lying_in_folder(), *self._lying_in_caches()):
            with suppress(UnusableModel):
                found.append(self.described(entry))
        return found

    def _shown(self, entry: Entry) -> Model:
        """One of the catalogue, as if it were not there when it cannot be used."""
        try:
            return self.described(entry)
        except UnusableModel:
            return Model(model_info(entry, None), entry, None)

    def described(self, entry: Entry) -> Model:
        """Raises UnusableModel."""
        source = self.source(entry)
        return Model(model_info(entry, source), entry, source)

    def source(self, entry: Entry) -> ModelSource | None:
        """Where the model lies; None unless it is whole."""
        path = entry.path or self.snapshots.find(HubFiles.of(entry), is_whole)
        if path is None or (entry.path and not is_whole(path)):
            return None
        config = entry.config or (None if path.is_dir() else self._configuration(path, entry.pipeline))
        if path.is_file() and config is None:
            whole = "load a whole model of its kind first, such as flux.1-schnell"
            raise UnusableModel(entry.id, f"it is a denoiser alone; {whole}")
        bare = self._bare(entry)
        return ModelSource(
            id=bare.id,
            name=bare.name,
            pipeline=entry.pipeline,
            path=path.absolute(),
            config=config and config.absolute(),
            trailing=entry.trailing,
            quantization=entry.quantization,
            revision=self.snapshots.revision(path) if entry.repository else None,
            changed=last_change(path),
        )

    def _bare(self, entry: Entry) -> Entry:
        """The same without LoRAs, where there is such an entry: both are one model in memory, and in receipts."""
        others = (other for other in self.entries.values() if not other.loras)
        same = (other for other in others if all(getattr(other, name) == getattr(entry, name) for name in PLACE))
        return next(same, entry) if entry.loras else entry

    def _configuration(self, file: Path, pipeline: str) -> Path | None:
        """How a model in one file is built: known by us, or by a whole model on disk, whose other parts it needs."""
        if file.suffix == ".gguf":
            return self._whole_folder_of(pipeline, None)
        found = head(file)
        of_ours = recognised(found)
        if of_ours is not None and of_ours[1] is not None:
            return of_ours[1]
        return self._whole_folder_of(pipeline, any("guidance_in" in name for name in found.shapes))

    def _whole_folder_of(self, pipeline: str, guided: bool | None) -> Path | None:
        """A whole model of that architecture; of FLUX.1, one that is guided as the bare denoiser is."""
        hub = (HubFiles.of(entry) for entry in self.entries.values() if entry.repository and not entry.file)
        snapshots = (self.snapshots.find(wanted, is_whole) for wanted in hub)
        for folder in (*filter(None, snapshots), *sorted(self.folder.glob("*"))):
            with suppress(UnusableModel, *UNREADABLE):
                if pipeline_of(folder, folder.name) == pipeline and is_whole(folder):
                    embeds = bool(read(folder / "transformer" / "config.json").get("guidance_embeds"))
                    if guided in (None, embeds):
                        return folder
        return None

    def _of_repository(self, reference: str) -> Entry | None:
        wanted = references.on_hub(reference)
        if wanted is None:
            return None
        place = wanted.repository, wanted.file
        found = [entry for entry in self.entries.values() if (entry.repository, entry.file) == place]
        return next((entry for entry in found if not entry.loras), found[0] if found else None)

    def _in_folder(self, reference: str) -> Entry | None:
        """Raises UnusableModel for what is there and cannot be used."""
        path = references.below(self.folder, reference)
        if path is None or reference.split("/", maxsplit=1)[0] in RESERVED:
            return None
        if path.is_file() and path.suffix == ".safetensors":
            return file_entry(path, reference)
        if (path / "model_index.json").is_file():
            return folder_entry(path, reference)
        return None

    def _lying_in_folder(self) -> Iterator[Entry]:
        """What can be used of it; what cannot is told to whoever asks for it by name."""
        paths = {entry.path for entry in self.entries.values()}
        for path in sorted(self.folder.glob("*")):
            if path not in paths and path.name not in RESERVED:
                try:
                    entry = self._in_folder(path.name)
                except UnusableModel:
                    continue
                if entry is not None:
                    yield entry

    def _lying_in_caches(self) -> Iterator[Entry]:
        known = {(entry.repository, entry.file) for entry in self.entries.values()}
        for repository in self.snapshots.repositories():
            snapshot = self.snapshots.find(HubFiles(repository))
            files = [] if snapshot is None or (snapshot / "model_index.json").exists() else weights_in(snapshot)
            for file in files or (None,):
                reference = f"{repository}/{file}" if file else repository
                if (repository, file) not in known and (entry := self._whole_repository(reference)) is not None:
                    yield entry

    def _whole_repository(self, reference: str) -> Entry | None:
        """What was downloaded without being in the catalogue; None unless it is whole and can be used."""
        wanted = references.on_hub(reference)
        path = self.snapshots.find(wanted, is_whole) if wanted is not None else None
        if wanted is None or path is None:
            return None
        try:
            pipeline = file_entry(path, reference).pipeline if path.is_file() else pipeline_of(path, reference)
        except UnusableModel:
            return None
        return Entry(id=reference, name=reference, pipeline=pipeline, repository=wanted.repository, file=wanted.file)


def is_whole(path: Path) -> bool:
    try:
        if path.is_file() and path.suffix == ".gguf":
            with path.open("rb") as file:
                return file.read(4) == b"GGUF"
        if path.is_file():
            head(path)
            return True
        return missing_part(path) is None
    except UNREADABLE:
        return False


def last_change(path: Path) -> int:
    files = [path] if path.is_file() else [*path.glob("*.json"), *path.glob("*/*")]
    return max((file.stat().st_mtime_ns for file in files), default=0)


def folder_entry(path: Path, reference: str) -> Entry:
    """Raises UnusableModel for a pipeline that is not in our table, or a part that is missing or is no safetensors."""
    pipeline = pipeline_of(path, reference)
    try:
        missing = missing_part(path)
    except UNREADABLE:
        raise UnusableModel(reference, "its configuration cannot be read") from None
    if missing is not None:
        raise UnusableModel(reference, f"{missing} is missing or cut short; weights must be whole safetensors")
    return described_entry(reference, path.name, pipeline, path)


def file_entry(path: Path, reference: str) -> Entry:
    try:
        found = recognised(head(path))
    except BrokenWeights:
        raise UnusableModel(reference, "it is no whole safetensors file") from None
    if found is None:
        raise UnusableModel(reference, "it is no checkpoint of Stable Diffusion 1, 2, XL or FLUX.1")
    return described_entry(reference, path.stem, found[0], path)


def described_entry(reference: str, name: str, pipeline: str, path: Path) -> Entry:
    return Entry(id=reference, name=name, path=path, pipeline=pipeline)
