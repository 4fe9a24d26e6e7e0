"""Models that have a name: those that the studio knows, and those of its owner, each from one file of data."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from imagegen.errors import BadCatalogue
from imagegen.info import Guidance, Quantization
from imagegen.library.families import FAMILIES
from imagegen.schema import LORA_LIMIT, LoraUse, Message, SamplerName

FILE = "catalogue.json"


class Entry(Message):
    """Where a model is: on the Hub in `repository`, whole or in one `file` there, or at `path`, relative to the
    catalogue. `pipeline` is its class in diffusers. What is left open is usual for models of that class.

    `variant` names the files to take where there are several sets, `config` is a folder in diffusers format with the
    configuration of a single file, `trailing` is for models of few steps, whose last must end where training did. With
    `loras`, an entry is a model that wears them: they are put on unless a request gives them other weights. Beside an
    entry that has none and is the same otherwise, it takes no memory of its own.
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
    loras: tuple[LoraUse, ...] = Field((), max_length=LORA_LIMIT)
    trailing: bool = False
    quantization: Quantization | None = None
    memory_gb: float | None = None
    download_gb: float | None = None

    @model_validator(mode="after")
    def is_somewhere(self) -> Entry:
        if (self.path is None) == (self.repository is None):
            raise ValueError("needs either a repository or a path")
        if self.pipeline not in FAMILIES:
            raise ValueError(f"pipeline must be one of {', '.join(FAMILIES)}")
        family = FAMILIES[self.pipeline]
        if self.sampler not in (None, *family.samplers):
            raise ValueError(f"sampler must be one of {', '.join(family.samplers)}")
        if self.loras and (self.quantization or not family.loras):
            raise ValueError("loras cannot be used with this pipeline, or not with its quantization")
        if len({use.lora for use in self.loras}) < len(self.loras):
            raise ValueError("loras must be different ones")
        if any(side is not None and side % family.multiple for side in (self.width, self.height, self.max_side)):
            raise ValueError(f"width, height and max_side must be multiples of {family.multiple}")
        return self


ENTRIES = TypeAdapter(list[Entry])


def catalogue(ours: Path, theirs: Path) -> dict[str, Entry]:
    """By id; the first is what a newcomer sees. An entry of the owner's replaces ours of the same id.

    Both arguments are folders; only the first must hold a catalogue. Raises BadCatalogue.
    """
    found = entries(ours)
    if (theirs / FILE).is_file():
        found |= entries(theirs)
    return found


def entries(folder: Path) -> dict[str, Entry]:
    try:
        listed = ENTRIES.validate_json((folder / FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise BadCatalogue(file=folder / FILE, problem=" ".join(str(error).split())[:500]) from None
    return {entry.id: placed(entry, folder) for entry in listed}


def placed(entry: Entry, folder: Path) -> Entry:
    """Its paths are relative to the catalogue that names it."""
    paths = {name: folder / path for name in ("path", "config") if (path := getattr(entry, name)) is not None}
    return entry.model_copy(update=paths)
