"""The catalogue: models with an id and defaults, from the shipped catalogue.json and from the owner's."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from imagegen.errors import InvalidCatalogue
from imagegen.library.checkpoint_detection import CONFIGS_DIR, ConfigName
from imagegen.library.families import describe_obstacle, find_family
from imagegen.schema.base import FrozenModel
from imagegen.schema.field_types import MAX_LORAS, SamplerName
from imagegen.schema.models import Guidance, PredictionType, Quantization
from imagegen.schema.request import LoraUse
from imagegen.text import describe_first_problem

CATALOGUE_FILE = "catalogue.json"


class CatalogueEntry(FrozenModel):
    """A model on the Hub in `repository` (whole, or one `file` of it) or at `path`, relative to the catalogue.

    `pipeline` is its class in diffusers; fields that are left out take that class's defaults. `variant` selects one of
    several sets of weights. `config` is a folder in diffusers format with the configuration of a single file, or the
    name of a shipped one. `prediction_type` is what the denoiser of a Stable Diffusion predicts, and `zero_snr` whether
    its training began at pure noise; they count more than what its files say.
    `trailing` selects trailing timestep spacing, for models of few steps. `loras` are applied to each request that
    gives them no weight of its own; `vae` is for requests that name none; an entry with LoRAs shares the memory of the
    entry that is equal but for them.
    """

    id: str = Field(min_length=1, max_length=300)
    name: str
    repository: str | None = Field(None, pattern=r"^[\w.-]+/[\w.-]+$")
    file: str | None = None
    path: Path | None = None
    config: Path | None = None
    revision: str | None = None
    variant: str | None = None
    pipeline: str
    licence: str | None = None
    gated: bool = False
    width: int | None = Field(None, ge=64, le=2048)
    height: int | None = Field(None, ge=64, le=2048)
    max_side: int | None = Field(None, ge=64, le=2048)
    steps: int | None = Field(None, ge=1, le=150)
    guidance_scale: float | None = Field(None, ge=1, le=30)
    guidance: Guidance | None = None
    sampler: SamplerName | None = None
    strength: float | None = Field(None, gt=0, le=1)
    loras: tuple[LoraUse, ...] = Field((), max_length=MAX_LORAS)
    vae: str | None = Field(None, min_length=1, max_length=300)
    trailing: bool = False
    prediction_type: PredictionType | None = None
    zero_snr: bool | None = None
    quantization: Quantization | None = None
    memory_gb: float | None = None
    download_gb: float | None = None

    @model_validator(mode="after")
    def check_consistency(self) -> CatalogueEntry:
        if (self.path is None) == (self.repository is None):
            raise ValueError("needs either a repository or a path")
        family = find_family(self.pipeline)
        if family is None:
            raise ValueError(f"pipeline cannot be {self.pipeline}: {describe_obstacle(self.pipeline)}")
        if self.sampler not in (None, *family.samplers):
            raise ValueError(f"sampler must be one of {', '.join(family.samplers)}")
        if family.denoiser != "unet" and (self.prediction_type, self.zero_snr) != (None, None):
            raise ValueError("prediction_type and zero_snr are for Stable Diffusion 1, 2 and XL")
        if self.vae is not None and not family.vae:
            raise ValueError("vae cannot be used with this pipeline")
        if self.loras and self.quantization:
            raise ValueError("loras cannot be used with a quantization")
        if len({use.lora for use in self.loras}) < len(self.loras):
            raise ValueError("loras must be different ones")
        if any(side is not None and side % family.multiple for side in (self.width, self.height, self.max_side)):
            raise ValueError(f"width, height and max_side must be multiples of {family.multiple}")
        return self


ENTRIES_ADAPTER = TypeAdapter(list[CatalogueEntry])


def load_catalogue(shipped_folder: Path, user_folder: Path) -> dict[str, CatalogueEntry]:
    """Returns the entries by id. The first is the default model; the user's entries replace shipped ones of equal id.

    Only the shipped folder must have a catalogue. Raises InvalidCatalogue.
    """
    entries = read_entries(shipped_folder)
    if (user_folder / CATALOGUE_FILE).is_file():
        entries |= read_entries(user_folder)
    return entries


def read_entries(folder: Path) -> dict[str, CatalogueEntry]:
    """Returns the entries of a folder's catalogue.json by id, with absolute paths. Raises InvalidCatalogue."""
    try:
        parsed = ENTRIES_ADAPTER.validate_json((folder / CATALOGUE_FILE).read_bytes())
    except OSError as error:
        raise InvalidCatalogue(file=folder / CATALOGUE_FILE, problem=error.strerror) from None
    except ValidationError as error:
        raise InvalidCatalogue(file=folder / CATALOGUE_FILE, problem=describe_first_problem(error)) from None
    return {entry.id: resolve_paths(entry, folder) for entry in parsed}


def resolve_paths(entry: CatalogueEntry, folder: Path) -> CatalogueEntry:
    """Returns the entry with paths made relative to the catalogue's folder; `config` may name a shipped folder."""
    paths = {name: folder / path for name in ("path", "config") if (path := getattr(entry, name)) is not None}
    if entry.config is not None and str(entry.config) in get_args(ConfigName) and not paths["config"].exists():
        paths["config"] = CONFIGS_DIR / entry.config
    return entry.model_copy(update=paths)
