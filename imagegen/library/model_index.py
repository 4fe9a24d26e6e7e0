"""The models that can be used: in the catalogue, in the models folder, and in the Hub's caches."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

from imagegen.errors import UnknownModel, UnusableModel
from imagegen.library import references
from imagegen.library.catalogue import CatalogueEntry, load_catalogue
from imagegen.library.checkpoint_detection import UnsupportedCheckpoint
from imagegen.library.checkpoints import (
    BaseMissing,
    LoadableCheckpoint,
    detect_checkpoint_file,
    inspect_checkpoint,
    inspect_gguf,
)
from imagegen.library.config_limits import find_config_problem
from imagegen.library.families import get_family
from imagegen.library.file_index import PICKLE_PROBLEM, PICKLE_SUFFIXES
from imagegen.library.gguf_files import read_gguf_header
from imagegen.library.model_info import READ_ERRORS, build_model_info, read_json, read_pipeline_class
from imagegen.library.snapshots import HubFiles, Snapshots
from imagegen.library.training_statements import Training
from imagegen.library.weight_files import find_missing_part, list_weight_files, read_header
from imagegen.schema.models import ModelInfo, ModelSource, PredictionType
from imagegen.text import truncate

logger = logging.getLogger(__name__)

# Subfolders of the models folder that contain other resources.
RESERVED_FOLDERS = (
    *("loras", "embeddings", "controlnets", "ip_adapters", "vaes", "detectors", "preprocessors", "upscalers"),
)
# Fields of an entry that decide its weights.
SOURCE_FIELDS = (
    "repository",
    "file",
    "path",
    "config",
    "revision",
    "variant",
    "pipeline",
    "trailing",
    "prediction_type",
    "zero_snr",
    "quantization",
)


@dataclass(frozen=True)
class Model:
    """A model and its location on disk; `source` is None while it is not on disk."""

    info: ModelInfo
    entry: CatalogueEntry
    source: ModelSource | None


class ModelIndex:
    """Finds models. `shipped` and `folder` may each have a catalogue. Each call reads the disk again.

    A link in `folder` to a file outside of it is refused, unless `follow_links`.
    """

    def __init__(self, shipped: Path, folder: Path, snapshots: Snapshots, follow_links: bool = False) -> None:
        self.folder, self.snapshots, self.follow_links = folder, snapshots, follow_links
        self.entries = load_catalogue(shipped, folder)
        self._refusals: set[str] = set()

    @property
    def default_id(self) -> str:
        """The model of a request that names none."""
        return next(iter(self.entries))

    @property
    def default_name(self) -> str:
        """The name of the default model."""
        return self.entries[self.default_id].name

    def get(self, reference: str) -> Model:
        """Returns a model by id, repository, or name of a file or folder. Raises UnknownModel and UnusableModel."""
        entry = (
            self.entries.get(reference)
            or self._find_by_repository(reference)
            or self._find_in_folder(reference)
            or self._find_complete_repository(reference)
        )
        if entry is None:
            raise UnknownModel("model", reference, self.entries)
        return self.describe(entry)

    def get_hub_files(self, reference: str) -> HubFiles | None:
        """Returns the files to download for a model; None for a local one. Raises UnknownModel and UnusableModel."""
        entry = self.entries.get(reference) or self._find_by_repository(reference)
        if entry is not None:
            return HubFiles.from_entry(entry) if entry.repository else None
        if self._find_in_folder(reference) is not None:
            return None
        hub_files = references.parse_hub_reference(reference)
        if hub_files is None:
            raise UnknownModel("model", reference, self.entries)
        return hub_files

    def resolve_id(self, reference: str) -> str:
        """Returns the catalogue's id for a reference to one of its models, and any other reference as it is."""
        entry = self.entries.get(reference) or self._find_by_repository(reference)
        return entry.id if entry is not None else reference

    def list_available(self) -> list[Model]:
        """Returns the catalogue's models, then those in the models folder, then complete ones in the Hub's caches."""
        models = [self._describe_or_absent(entry) for entry in self.entries.values()]
        for found in self._scan_folder():
            if isinstance(found, Model):
                models.append(found)
            else:
                self._log_refusal(found)
        for entry in self._scan_caches():
            try:
                models.append(self.describe(entry))
            except UnusableModel as refusal:
                self._log_refusal(refusal)
        return models

    def list_refused(self) -> list[UnusableModel]:
        """Returns why files and folders in the models folder cannot be used."""
        return [found for found in self._scan_folder() if isinstance(found, UnusableModel)]

    def _log_refusal(self, refusal: UnusableModel) -> None:
        """Logs, once, why a file or folder is not in the list."""
        if str(refusal) not in self._refusals:
            self._refusals.add(str(refusal))
            logger.warning(
                "A model is not listed", extra={"action": "model_not_listed", "problem": truncate(str(refusal), 400)}
            )

    def _describe_or_absent(self, entry: CatalogueEntry) -> Model:
        """Returns a catalogue model, without a source if its files cannot be used."""
        try:
            return self.describe(entry)
        except UnusableModel:
            return Model(build_model_info(entry, None), entry, None)

    def describe(self, entry: CatalogueEntry) -> Model:
        """Returns the entry with its location and defaults. Raises UnusableModel."""
        source = self.get_source(entry)
        return Model(build_model_info(entry, source), entry, source)

    def get_source(self, entry: CatalogueEntry) -> ModelSource | None:
        """Returns where the model is on disk; None unless it is complete.

        Raises UnusableModel for a single file that cannot be loaded, and for a configuration with a number that is out
        of range.
        """
        path = entry.path or self.snapshots.find(HubFiles.from_entry(entry), is_complete)
        if path is None or (entry.path and not is_complete(path)):
            return None
        training = Training(entry.prediction_type, entry.zero_snr)
        config = None
        if path.is_file():
            loadable = self._inspect_file(path, entry, training)
            config, training = loadable.config, loadable.training
        check_config(entry.id, config or path)
        if get_family(entry.pipeline).denoiser == "unet":
            check_scheduler(entry.id, config or path)
        base = self._get_base_entry(entry)
        return ModelSource(
            id=base.id,
            name=base.name,
            pipeline=entry.pipeline,
            path=path.absolute(),
            config=config and config.absolute(),
            trailing=entry.trailing,
            prediction_type=training.prediction_type,
            zero_snr=training.zero_snr,
            quantization=entry.quantization,
            revision=self.snapshots.get_revision(path) if entry.repository else None,
            changed=get_last_modified(path),
        )

    def _get_base_entry(self, entry: CatalogueEntry) -> CatalogueEntry:
        """Returns the entry that is equal but for its LoRAs, if any: both share memory, and receipts name it."""
        others = (other for other in self.entries.values() if not other.loras)
        same = (
            other for other in others if all(getattr(other, name) == getattr(entry, name) for name in SOURCE_FIELDS)
        )
        return next(same, entry) if entry.loras else entry

    def _inspect_file(self, file: Path, entry: CatalogueEntry, training: Training) -> LoadableCheckpoint:
        """Returns how a single file is loaded: its configuration is a shipped one, or a complete model with the rest.

        Raises UnusableModel.
        """
        try:
            find_base = partial(self._find_complete_folder, entry.pipeline)
            if file.suffix == ".gguf":
                return inspect_gguf(file, entry.pipeline, entry.config, find_base)
            return inspect_checkpoint(file, entry.pipeline, entry.config, training, find_base)
        except BaseMissing:
            advice = "load a complete model of its architecture first, such as flux.1-schnell"
            raise UnusableModel(entry.id, f"it is a denoiser alone; {advice}") from None
        except UnsupportedCheckpoint as error:
            raise UnusableModel(entry.id, str(error)) from None
        except READ_ERRORS:
            raise UnusableModel(entry.id, "its configuration cannot be read") from None

    def _find_complete_folder(self, pipeline: str, has_guidance: bool | None) -> Path | None:
        """Returns a complete model of the architecture. For FLUX.1, `guidance_embeds` must equal `has_guidance`."""
        hub = (HubFiles.from_entry(entry) for entry in self.entries.values() if entry.repository and not entry.file)
        snapshots = (self.snapshots.find(hub_files, is_complete) for hub_files in hub)
        own = (
            folder
            for folder in sorted(self.folder.glob("*"))
            if self.follow_links or references.find_outside_link(self.folder, folder) is None
        )
        for folder in (*filter(None, snapshots), *own):
            with suppress(UnusableModel, *READ_ERRORS):
                if read_pipeline_class(folder, folder.name) == pipeline and is_complete(folder):
                    embeds = bool(read_json(folder / "transformer" / "config.json").get("guidance_embeds"))
                    if has_guidance in (None, embeds):
                        return folder
        return None

    def _find_by_repository(self, reference: str) -> CatalogueEntry | None:
        hub_files = references.parse_hub_reference(reference)
        if hub_files is None:
            return None
        location = hub_files.repository, hub_files.file
        matches = [entry for entry in self.entries.values() if (entry.repository, entry.file) == location]
        return next((entry for entry in matches if not entry.loras), matches[0] if matches else None)

    def _find_in_folder(self, reference: str) -> CatalogueEntry | None:
        """Raises UnusableModel for a file or folder that exists and cannot be used."""
        path = references.find_below(self.folder, reference)
        if path is None or reference.split("/", maxsplit=1)[0] in RESERVED_FOLDERS:
            return None
        if not self.follow_links and (link := references.find_outside_link(self.folder, path)) is not None:
            raise UnusableModel(reference, references.describe_outside_link(link))
        if path.is_file() and path.suffix == ".safetensors":
            return create_file_entry(path, reference)
        if (path / "model_index.json").is_file():
            return create_folder_entry(path, reference)
        return None

    def _scan_folder(self) -> Iterator[Model | UnusableModel]:
        """Yields the models in the folder, and for each file or folder that is none the reason."""
        paths = {entry.path for entry in self.entries.values()}
        for path in sorted(self.folder.glob("*")):
            if path in paths or path.name in RESERVED_FOLDERS:
                continue
            try:
                entry = self._find_in_folder(path.name)
                if entry is not None:
                    yield self.describe(entry)
                elif path.suffix in PICKLE_SUFFIXES and path.is_file():
                    yield UnusableModel(path.name, PICKLE_PROBLEM)
            except UnusableModel as refusal:
                yield refusal

    def _scan_caches(self) -> Iterator[CatalogueEntry]:
        catalogued = {(entry.repository, entry.file) for entry in self.entries.values()}
        for repository in self.snapshots.list_repositories():
            snapshot = self.snapshots.find(HubFiles(repository))
            files = [] if snapshot is None or (snapshot / "model_index.json").exists() else list_weight_files(snapshot)
            for file in files or (None,):
                reference = f"{repository}/{file}" if file else repository
                if (repository, file) not in catalogued and (entry := self._find_complete_repository(reference)):
                    yield entry

    def _find_complete_repository(self, reference: str) -> CatalogueEntry | None:
        """Returns an entry for a downloaded repository without one; None unless it is complete and usable."""
        hub_files = references.parse_hub_reference(reference)
        path = self.snapshots.find(hub_files, is_complete) if hub_files is not None else None
        if hub_files is None or path is None:
            return None
        try:
            pipeline = (
                create_file_entry(path, reference).pipeline if path.is_file() else read_pipeline_class(path, reference)
            )
        except UnusableModel:
            return None
        return CatalogueEntry(
            id=reference, name=reference, pipeline=pipeline, repository=hub_files.repository, file=hub_files.file
        )


def is_complete(path: Path) -> bool:
    """Returns whether a file or folder has all its weights, by the headers of its files."""
    try:
        if path.is_file() and path.suffix == ".gguf":
            read_gguf_header(path)
            return True
        if path.is_file():
            read_header(path)
            return True
        return find_missing_part(path) is None
    except READ_ERRORS:
        return False


def check_config(reference: str, folder: Path) -> None:
    """Raises UnusableModel if a configuration in a model's folder has a number that is out of range."""
    try:
        problem = find_config_problem(folder)
    except READ_ERRORS:
        problem = "its configuration cannot be read"
    if problem is not None:
        raise UnusableModel(reference, problem)


def check_scheduler(reference: str, folder: Path) -> None:
    """Raises UnusableModel for a UNet whose scheduler has noise levels or a prediction that no sampler here has."""
    try:
        config = read_json(folder / "scheduler" / "scheduler_config.json")
        name, prediction = str(config.get("_class_name", "")), config.get("prediction_type", "epsilon")
    except READ_ERRORS:
        raise UnusableModel(reference, "its configuration cannot be read") from None
    if name and "beta_schedule" not in config and not name.startswith("EDM"):
        raise UnusableModel(reference, f"its scheduler is {truncate(name)}, whose noise levels no sampler here has")
    if prediction not in get_args(PredictionType):
        raise UnusableModel(
            reference,
            f"its scheduler says prediction_type {truncate(str(prediction))}; it can be"
            f" {', '.join(get_args(PredictionType))}",
        )


def get_last_modified(path: Path) -> int:
    """Returns the latest modification time of a model's files, in nanoseconds."""
    files = [path] if path.is_file() else [*path.glob("*.json"), *path.glob("*/*")]
    return max(
        (file.lstat().st_mtime_ns if file.is_symlink() else file.stat().st_mtime_ns for file in files), default=0
    )


def create_folder_entry(path: Path, reference: str) -> CatalogueEntry:
    """Returns an entry for a folder in diffusers format.

    Raises UnusableModel for an unsupported pipeline and for a component that is missing or not safetensors.
    """
    pipeline = read_pipeline_class(path, reference)
    try:
        missing = find_missing_part(path)
    except READ_ERRORS:
        raise UnusableModel(reference, "its configuration cannot be read") from None
    if missing is not None:
        raise UnusableModel(reference, f"{missing} is missing or incomplete; weights must be complete safetensors")
    return create_entry(reference, path.name, pipeline, path)


def create_file_entry(path: Path, reference: str) -> CatalogueEntry:
    """Returns an entry for a single-file checkpoint. Raises UnusableModel for a file of another architecture."""
    try:
        checkpoint = detect_checkpoint_file(path)
    except UnsupportedCheckpoint as error:
        raise UnusableModel(reference, str(error)) from None
    except READ_ERRORS:
        raise UnusableModel(reference, "it is not a complete safetensors file") from None
    return create_entry(reference, path.stem, checkpoint.pipeline, path)


def create_entry(reference: str, name: str, pipeline: str, path: Path) -> CatalogueEntry:
    """Returns a catalogue entry for a model at a path, with the defaults of its pipeline."""
    return CatalogueEntry(id=reference, name=name, path=path, pipeline=pipeline)
