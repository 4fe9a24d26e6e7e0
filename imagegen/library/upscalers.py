"""Upscalers: resampling filters, the shipped network, and networks in the models folder and in the Hub's caches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imagegen.errors import UnusableModel
from imagegen.library.author_picture import find_picture
from imagegen.library.file_index import FileIndex
from imagegen.library.snapshots import HubFiles
from imagegen.library.upscaler_architectures import UnknownUpscaler, detect_upscaler_architecture
from imagegen.library.weight_files import SafetensorsHeader
from imagegen.schema.models import UpscalerInfo, UpscalerSource

KIND = "upscaler"
# The names of resampling filters, which the engine has without a file.
FILTERS = ("Lanczos", "Bicubic", "Nearest")
# For requests that name no upscaler.
DEFAULT_UPSCALER = "studio-x4"


@dataclass(frozen=True)
class Upscaler:
    """An upscaler, and the path of its file; None for a filter."""

    info: UpscalerInfo
    path: Path | None = None


class UpscalerIndex(FileIndex[Upscaler]):
    """Filters and networks."""

    def get(self, reference: str) -> Upscaler:
        found = find_filter(reference)
        if found is not None:
            return found
        return super().get(reference)

    def list_available(self, has_some: Callable[[str], bool] = lambda _: True) -> list[Upscaler]:
        return [*(build_filter(name) for name in FILTERS), *super().list_available(has_some)]

    def get_hub_files(self, reference: str) -> HubFiles | None:
        if find_filter(reference) is not None:
            return None
        return super().get_hub_files(reference)

    def get_source(self, reference: str) -> UpscalerSource:
        """Returns what a worker needs. Reads the whole file once, for its SHA-256. Raises what `get` raises."""
        upscaler = self.get(reference)
        info, path = upscaler.info, upscaler.path
        return UpscalerSource(
            id=info.id,
            name=info.name,
            scale=info.scale,
            path=path and path.absolute(),
            sha256=path and self.checksums.compute(path),
        )

    def _describe(self, reference: str, path: Path, header: SafetensorsHeader) -> Upscaler:
        try:
            architecture = detect_upscaler_architecture(header.shapes)
        except UnknownUpscaler as error:
            raise UnusableModel(reference, str(error), self.kind) from None
        metadata = header.metadata
        fallback_name = reference if "snapshots" in path.parts else path.stem
        info = UpscalerInfo(
            id=reference,
            name=metadata.get("modelspec.title") or fallback_name,
            architecture=architecture.name,
            scale=architecture.scale,
            description=metadata.get("modelspec.description"),
            licence=metadata.get("modelspec.license"),
            size=path.stat().st_size,
            deletable=self.snapshots.is_download(path),
            has_picture=find_picture(path) is not None,
        )
        return Upscaler(info, path)


def build_filter(name: str) -> Upscaler:
    return Upscaler(UpscalerInfo(id=name, name=name, architecture="filter"))


def find_filter(reference: str) -> Upscaler | None:
    """Returns the filter of this name, None if it is the name of something else."""
    return build_filter(reference) if reference in FILTERS else None
