"""What a model can do, from its family, its catalogue entry, and the configuration in its folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from imagegen.errors import UnusableModel
from imagegen.library import architectures
from imagegen.library.catalogue import CatalogueEntry
from imagegen.library.checkpoint_detection import read_input_channels
from imagegen.library.families import describe_obstacle, find_family, get_family
from imagegen.library.family_facts import EDM_SAMPLERS, FAMILIES, FLUX2_KLEIN, Family
from imagegen.library.vae_latents import find_model_latents
from imagegen.library.weight_files import measure_weight_bytes, parse_components, read_header
from imagegen.schema.field_types import SamplerName
from imagegen.schema.models import Capabilities, Guidance, Latents, ModelInfo, ModelSource

# Whatever is in a configuration, reading it raises one of these.
READ_ERRORS = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
# Classes of other libraries would be code from the model.
ALLOWED_LIBRARIES = ("diffusers", "transformers")
# The classes for inpainting, with the family's own. Whether a model was trained for it, its denoiser says.
INPAINTING_PIPELINES = {
    "StableDiffusionInpaintPipeline": "StableDiffusionPipeline",
    "StableDiffusionXLInpaintPipeline": "StableDiffusionXLPipeline",
    "StableDiffusion3InpaintPipeline": "StableDiffusion3Pipeline",
    "FluxFillPipeline": "FluxPipeline",
}


def read_pipeline_class(folder: Path, reference: str) -> str:
    """Returns the pipeline class of a folder in diffusers format. Raises UnusableModel if it cannot be used."""
    try:
        index = json.loads((folder / "model_index.json").read_bytes())
        pipeline = index["_class_name"]
    except READ_ERRORS:
        raise UnusableModel(reference, "its model_index.json cannot be read") from None
    pipeline = check_pipeline_class(pipeline, reference)
    check_components(index, reference)
    return pipeline


def check_components(index: dict[str, object], reference: str) -> None:
    """Raises UnusableModel if a model_index.json names a class that is neither of diffusers nor of transformers."""
    for component, (library, name) in parse_components(index).items():
        if library not in ALLOWED_LIBRARIES:
            raise UnusableModel(reference, f"its part {component} is {library}.{name}, which would run code of its own")


def check_pipeline_class(pipeline: object, reference: str) -> str:
    """Returns the family's pipeline class for that of a model's folder. Raises UnusableModel."""
    pipeline = INPAINTING_PIPELINES.get(str(pipeline), pipeline)
    if not isinstance(pipeline, str) or find_family(pipeline) is None:
        raise UnusableModel(reference, f"its pipeline is {str(pipeline)[:60]}, but {describe_obstacle(str(pipeline))}")
    return pipeline


# Those of FLUX.2 klein base, as in diffusers.
UNDISTILLED_STEPS, UNDISTILLED_GUIDANCE_SCALE = 50, 4.0


def build_model_info(entry: CatalogueEntry, source: ModelSource | None) -> ModelInfo:
    """Returns what is known of a model; without a source, the model is not on disk.

    Raises UnusableModel when the configuration in its folder cannot be read.
    """
    try:
        return describe_model(entry, source)
    except READ_ERRORS:
        raise UnusableModel(entry.id, "its configuration cannot be read") from None


def describe_model(entry: CatalogueEntry, source: ModelSource | None) -> ModelInfo:
    family = get_family(entry.pipeline)
    folder = get_config_folder(source) if source else None
    width, height = get_native_size(family, folder)
    guidance = entry.guidance or detect_guidance(family, folder)
    only_inpaints = source is not None and is_inpainting_model(family, source)
    latents = read_model_latents(family, folder)
    scheduler = read_scheduler(family, folder)
    samplers = EDM_SAMPLERS if "sigma_data" in scheduler else family.samplers
    return ModelInfo(
        id=entry.id,
        name=entry.name,
        family=family.name,
        can=build_capabilities(
            family, guidance, entry, only_inpaints, family.vae and (not folder or latents is not None)
        ).model_copy(update={"samplers": samplers, **list_limits(family, folder)}),
        width=entry.width or width,
        height=entry.height or height,
        steps=entry.steps or (UNDISTILLED_STEPS if is_undistilled(family, guidance) else family.steps),
        guidance_scale=entry.guidance_scale or get_guidance_scale(family, guidance, only_inpaints),
        sampler=choose_sampler(entry, family, samplers),
        strength=entry.strength or (1.0 if only_inpaints else 0.6),
        loras=entry.loras,
        vae=entry.vae,
        architecture=architectures.detect_folder_architecture(entry.pipeline, folder) if folder else None,
        repository=entry.repository,
        revision=source.revision if source else entry.revision,
        licence=entry.licence,
        gated=entry.gated,
        quantization=entry.quantization,
        memory_gb=entry.memory_gb or (measure_weights_gb(source.path) if source else None),
        download_gb=entry.download_gb,
        latents=latents,
    )


def choose_sampler(entry: CatalogueEntry, family: Family, samplers: tuple[SamplerName, ...]) -> SamplerName:
    """Returns the default sampler of a model that can be used with these. Raises UnusableModel."""
    if entry.sampler not in (None, *samplers):
        raise UnusableModel(entry.id, f"its sampler must be one of {', '.join(samplers)}")
    return entry.sampler or (family.sampler if family.sampler in samplers else samplers[0])


def read_scheduler(family: Family, folder: Path | None) -> dict[str, Any]:
    """Returns the configuration of a UNet's scheduler; nothing for another denoiser, and without a folder."""
    if folder is None or family.denoiser != "unet":
        return {}
    return read_json(folder / "scheduler" / "scheduler_config.json")


def list_limits(family: Family, folder: Path | None) -> dict[str, bool]:
    """Returns what a model cannot do although its family can.

    In diffusers 0.42.1, the pipeline that inpaints with a UNet does not know latents with a mean, as of Playground 2.5.
    """
    if folder is None or family.denoiser != "unet":
        return {}
    has_mean = read_json(folder / "vae" / "config.json").get("latents_mean") is not None
    return {"inpainting": False, "latent_upscaling": False} if has_mean else {}


def read_model_latents(family: Family, folder: Path | None) -> Latents | None:
    """Returns the latents of a model, None if it is not on disk or can use no other VAE."""
    if folder is None or not family.vae:
        return None
    return find_model_latents(read_json(folder / "vae" / "config.json"))


def get_config_folder(source: ModelSource) -> Path | None:
    """Returns the folder with the configuration of the model's networks."""
    return source.path if source.path.is_dir() else source.config


def build_capabilities(
    family: Family, guidance: Guidance, entry: CatalogueEntry, only_inpaints: bool, vae: bool
) -> Capabilities:
    """Returns the capabilities that the family has under the same name, and those that depend on the model."""
    same_names = Capabilities.model_fields.keys() & {field.name for field in dataclasses.fields(family)}
    of_family: dict[str, Any] = {name: getattr(family, name) for name in same_names}
    return Capabilities(**of_family | {
        "guidance": guidance,
        "negative_prompt": guidance in ("classifier-free", "true"),
        "weighted_prompt": family.prompts != "pipeline",
        "loras": family.loras and entry.quantization is None,
        "vae": vae,
        "max_side": entry.max_side or family.max_side,
    } | ({"text_to_image": False, "image_to_image": False, "step_cache": False} if only_inpaints else {}))  # fmt: skip


def is_inpainting_model(family: Family, source: ModelSource) -> bool:
    """Returns whether the denoiser of a model on disk was trained to inpaint. Such a model can do nothing else."""
    if family.inpainting_channels is None:
        return False
    return count_input_channels(family, source) == family.inpainting_channels


def count_input_channels(family: Family, source: ModelSource) -> int | None:
    """Returns the input channels of the denoiser, by the weights of a single file or else by its configuration."""
    if source.path.suffix == ".safetensors" and source.path.is_file():
        return read_input_channels(read_header(source.path))
    folder = get_config_folder(source)
    return None if folder is None else read_json(folder / family.denoiser / "config.json").get("in_channels")


def get_guidance_scale(family: Family, guidance: Guidance, only_inpaints: bool) -> float:
    """Returns the default guidance scale. A denoiser that gets its scale as an input was trained to inpaint at 30."""
    if guidance == "none":
        return 1.0
    if is_undistilled(family, guidance):
        return UNDISTILLED_GUIDANCE_SCALE
    return 30.0 if only_inpaints and guidance == "embedded" else family.guidance_scale


def is_undistilled(family: Family, guidance: Guidance) -> bool:
    """Returns whether a model of a family that needs no guidance was not distilled, and needs it."""
    return family.guidance == "none" and guidance != "none"


def detect_guidance(family: Family, folder: Path | None) -> Guidance:
    """Returns the family's guidance, or "none" for a model that was distilled to need none.

    A FLUX.2 klein that was not distilled needs guidance, for which its pipeline takes no negative prompt.
    """
    if family.pipeline == FLUX2_KLEIN.pipeline and folder is not None:
        return "none" if read_json(folder / "model_index.json").get("is_distilled") else "embedded"
    if family.guidance == "embedded" and folder is not None:
        config = read_json(folder / family.denoiser / "config.json")
        return "embedded" if config.get("guidance_embeds", family.pipeline not in FAMILIES) else "none"
    return family.guidance


def get_native_size(family: Family, folder: Path | None) -> tuple[int, int]:
    """Returns width and height in pixels: the size a UNet was trained at, or else the family's."""
    if family.denoiser == "unet" and folder is not None:
        sample = read_json(folder / "unet" / "config.json").get("sample_size")
        if isinstance(sample, int):
            blocks = read_json(folder / "vae" / "config.json")["block_out_channels"]
            side = max(64, sample * 2 ** (len(blocks) - 1))
            return side, side
    return family.width, family.height


def read_json(file: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(file.read_bytes())
    return values


def measure_weights_gb(path: Path) -> float:
    return round(measure_weight_bytes(path) / 1e9, 2)
