"""The models that there are: in the catalogue, in the models folder, and in the caches of the Hub."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from imagegen.errors import UnknownModel, UnusableModel
from imagegen.info import Capabilities, Guidance, ModelInfo, ModelSource
from imagegen.library import architectures
from imagegen.library.catalogue import Entry, catalogue
from imagegen.library.checkpoints import recognised
from imagegen.library.families import FAMILIES, Family
from imagegen.library.snapshots import HubFiles, Snapshots
from imagegen.library.weights import BrokenWeights, head, missing_part, weight_bytes, weights_in

REPOSITORY = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[\w.-]+)(?:/(?P<file>[\w./ -]+\.safetensors))?")
# Folders in the models folder that hold something else.
RESERVED = ("loras", "embeddings")


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
        match = REPOSITORY.fullmatch(reference)
        if match is None:
            raise UnknownModel("model", reference, self.entries)
        return HubFiles(match["repository"], match["file"])

    def all(self) -> list[Model]:
        """The catalogue's, then what lies in the folder, then what else of the Hub is on disk and can be used."""
        entries = [*self.entries.values(), *self._lying_in_folder(), *self._lying_in_caches()]
        return [self.described(entry) for entry in entries]

    def described(self, entry: Entry) -> Model:
        source = self.source(entry)
        return Model(model_info(entry, source), entry, source)

    def source(self, entry: Entry) -> ModelSource | None:
        """Where the model lies; None unless it is whole."""
        path = entry.path or self.snapshots.find(HubFiles.of(entry), is_whole)
        if path is None or (entry.path and not is_whole(path)):
            return None
        config = entry.config
        if path.is_file() and config is None:
            found = recognised(head(path))
            config = found[1] if found else None
            if config is None:
                config = self._whole_folder_of(entry.pipeline)
        return ModelSource(
            id=entry.id,
            name=entry.name,
            pipeline=entry.pipeline,
            path=path.absolute(),
            config=config and config.absolute(),
            trailing=entry.trailing,
            quantization=entry.quantization,
            revision=self.snapshots.revision(path) if entry.repository else None,
        )

    def _whole_folder_of(self, pipeline: str) -> Path | None:
        """A whole model of that architecture, whose other parts a bare denoiser can use."""
        for entry in self.entries.values():
            if entry.pipeline == pipeline and entry.repository and not entry.file:
                path = self.snapshots.find(HubFiles.of(entry), is_whole)
                if path is not None:
                    return path
        return None

    def _of_repository(self, reference: str) -> Entry | None:
        match = REPOSITORY.fullmatch(reference)
        if match is None:
            return None
        place = match["repository"], match["file"]
        return next((entry for entry in self.entries.values() if (entry.repository, entry.file) == place), None)

    def _in_folder(self, reference: str) -> Entry | None:
        """Only what lies below the folder: a reference comes from outside."""
        parts = PurePosixPath(reference).parts
        if not parts or parts[0] in ("/", *RESERVED) or any(part.startswith(".") for part in parts):
            return None
        try:
            path = self.folder.joinpath(*parts)
            if path.suffix == ".safetensors" and path.is_file():
                return file_entry(path, reference)
            if (path / "model_index.json").is_file():
                return folder_entry(path, reference)
        except (OSError, ValueError):
            pass
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
        match = REPOSITORY.fullmatch(reference)
        path = match and self.snapshots.find(HubFiles(match["repository"], match["file"]), is_whole)
        if match is None or path is None:
            return None
        try:
            pipeline = file_entry(path, reference).pipeline if path.is_file() else pipeline_of(path, reference)
        except UnusableModel:
            return None
        place = {"repository": match["repository"], "file": match["file"]}
        return Entry(id=reference, name=reference, pipeline=pipeline, **place)


def is_whole(path: Path) -> bool:
    try:
        if path.is_file():
            head(path)
            return True
        return missing_part(path) is None
    except (OSError, ValueError, BrokenWeights):
        return False


def folder_entry(path: Path, reference: str) -> Entry:
    """Raises UnusableModel for a pipeline that is not in our table, or a part that is missing or is no safetensors."""
    pipeline = pipeline_of(path, reference)
    missing = missing_part(path)
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


def pipeline_of(folder: Path, reference: str) -> str:
    index = json.loads((folder / "model_index.json").read_bytes())
    pipeline = index.get("_class_name")
    if pipeline not in FAMILIES:
        raise UnusableModel(reference, f"its pipeline is {str(pipeline)[:60]}; it can be {', '.join(FAMILIES)}")
    return str(pipeline)


def model_info(entry: Entry, source: ModelSource | None) -> ModelInfo:
    family = FAMILIES[entry.pipeline]
    folder = configuration(source) if source else None
    width, height = native_size(family, folder)
    guidance = entry.guidance or guidance_of(family, folder)
    return ModelInfo(
        id=entry.id,
        name=entry.name,
        family=family.name,
        can=capabilities(family, guidance, entry),
        width=entry.width or width,
        height=entry.height or height,
        steps=entry.steps or family.steps,
        guidance_scale=entry.guidance_scale or (1.0 if guidance == "none" else family.guidance_scale),
        sampler=entry.sampler or family.sampler,
        strength=entry.strength or 0.6,
        architecture=architectures.of_folder(entry.pipeline, folder) if folder else None,
        repository=entry.repository,
        revision=source.revision if source else entry.revision,
        licence=entry.licence,
        gated=entry.gated,
        quantization=entry.quantization,
        memory_gb=entry.memory_gb or (source and weights_gb(source.path)),
        download_gb=entry.download_gb,
    )


def configuration(source: ModelSource) -> Path | None:
    """The folder that says how the model is built."""
    return source.path if source.path.is_dir() else source.config


def capabilities(family: Family, guidance: Guidance, entry: Entry) -> Capabilities:
    return Capabilities(
        image_to_image=family.from_image,
        inpainting=family.inpainting,
        strength=family.from_image and family.strength,
        guidance=guidance,
        negative_prompt=guidance in ("classifier-free", "true"),
        weighted_prompt=family.prompts != "pipeline",
        clip_skip=family.clip_skip,
        loras=family.loras and entry.quantization is None,
        embeddings=family.embeddings,
        samplers=family.samplers,
        multiple=family.multiple,
        max_side=entry.max_side or family.max_side,
    )


def guidance_of(family: Family, folder: Path | None) -> Guidance:
    """Of two models of the same architecture, one may have been distilled to need no guidance."""
    if family.guidance == "embedded" and folder is not None:
        config = json.loads((folder / "transformer" / "config.json").read_bytes())
        return "embedded" if config.get("guidance_embeds") else "none"
    return family.guidance


def native_size(family: Family, folder: Path | None) -> tuple[int, int]:
    """The size that a UNet was trained at; the other architectures do not say."""
    if family.denoiser == "unet" and folder is not None:
        sample = json.loads((folder / "unet" / "config.json").read_bytes()).get("sample_size")
        if isinstance(sample, int):
            blocks = json.loads((folder / "vae" / "config.json").read_bytes())["block_out_channels"]
            side = max(64, sample * 2 ** (len(blocks) - 1))
            return side, side
    return family.width, family.height


def weights_gb(path: Path) -> float:
    size = path.stat().st_size if path.is_file() else weight_bytes(path)
    return round(size / 1e9, 2)
