"""What a model can do, told by its family, its catalogue entry, and the configuration in its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from imagegen.errors import UnusableModel
from imagegen.info import Capabilities, Guidance, ModelInfo, ModelSource
from imagegen.library import architectures
from imagegen.library.catalogue import Entry
from imagegen.library.families import FAMILIES, Family
from imagegen.library.weights import weight_bytes

UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError)


def pipeline_of(folder: Path, reference: str) -> str:
    """The class that a folder in diffusers format names. Raises UnusableModel for one that is not in our table."""
    try:
        pipeline = json.loads((folder / "model_index.json").read_bytes())["_class_name"]
    except UNREADABLE:
        raise UnusableModel(reference, "its model_index.json cannot be read") from None
    return known_pipeline(pipeline, reference)


def known_pipeline(pipeline: object, reference: str) -> str:
    if not isinstance(pipeline, str) or pipeline not in FAMILIES:
        raise UnusableModel(reference, f"its pipeline is {str(pipeline)[:60]}; it can be {', '.join(FAMILIES)}")
    return pipeline


def model_info(entry: Entry, source: ModelSource | None) -> ModelInfo:
    """Raises UnusableModel when the configuration in its folder makes no sense."""
    try:
        return described(entry, source)
    except UNREADABLE:
        raise UnusableModel(entry.id, "its configuration cannot be read") from None


def described(entry: Entry, source: ModelSource | None) -> ModelInfo:
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
        loras=entry.loras,
        architecture=architectures.of_folder(entry.pipeline, folder) if folder else None,
        repository=entry.repository,
        revision=source.revision if source else entry.revision,
        licence=entry.licence,
        gated=entry.gated,
        quantization=entry.quantization,
        memory_gb=entry.memory_gb or (weights_gb(source.path) if source else None),
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
        step_cache=family.step_cache,
        loras=family.loras and entry.quantization is None,
        embeddings=family.embeddings,
        samplers=family.samplers,
        multiple=family.multiple,
        max_side=entry.max_side or family.max_side,
    )


def guidance_of(family: Family, folder: Path | None) -> Guidance:
    """Of two models of the same architecture, one may have been distilled to need no guidance."""
    if family.guidance == "embedded" and folder is not None:
        return "embedded" if read(folder / "transformer" / "config.json").get("guidance_embeds") else "none"
    return family.guidance


def native_size(family: Family, folder: Path | None) -> tuple[int, int]:
    """The size that a UNet was trained at; the other architectures do not say."""
    if family.denoiser == "unet" and folder is not None:
        sample = read(folder / "unet" / "config.json").get("sample_size")
        if isinstance(sample, int):
            blocks = read(folder / "vae" / "config.json")["block_out_channels"]
            side = max(64, sample * 2 ** (len(blocks) - 1))
            return side, side
    return family.width, family.height


def read(file: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(file.read_bytes())
    return facts


def weights_gb(path: Path) -> float:
    size = path.stat().st_size if path.is_file() else weight_bytes(path)
    return round(size / 1e9, 2)
