"""The family of a pipeline class: known well, or derived from the class. Needs no torch.

The families in `family_facts` are written by hand. For any other text-to-image class of the installed diffusers, a
family is derived from what its source says: see `stock_pipelines`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Literal

from imagegen.library.family_facts import FAMILIES, TRANSFORMER, Family
from imagegen.library.stock_pipelines import Parameter, StockPipeline, read_stock_pipeline
from imagegen.schema.models import Guidance

DENOISERS: tuple[Literal["unet", "transformer"], ...] = ("transformer", "unet")
DRAWS_NOTHING = "it does not draw a picture of a given size from a prompt"
NEEDS_PICTURE = "it needs a picture besides the prompt"
# Pipelines that cannot be told from others by their signatures, and why they cannot be used.
EXCLUDED = {
    "BriaFiboEditPipeline": NEEDS_PICTURE,
    "DreamLiteMobilePipeline": "it draws one prompt at a time",
    "DreamLitePipeline": "it draws one prompt at a time",
    "Flux2KleinKVPipeline": "its denoiser keeps a cache from step to step, which jobs cannot share",
    "GlmImagePipeline": "its pictures begin with tokens that are drawn at random without a seed",
    "HunyuanImageRefinerPipeline": NEEDS_PICTURE,
    "JoyImageEditPipeline": NEEDS_PICTURE,
    "JoyImageEditPlusPipeline": NEEDS_PICTURE,
    "Kandinsky5T2IPipeline": "it draws pictures of seven sizes only",
}
# Pipelines that give their denoiser what the jobs of others cannot be joined with: text features by layer, a cache of
# attention, lists of lists.
OWN_PASSES = ("HiDreamImagePipeline", "QwenImage21Pipeline", "ZImageOmniPipeline")
# Pipelines for pictures of pictures that are not used. In diffusers 0.42.1, the first reads a setting that no model
# has, and the scheduler of the second refuses some strengths.
UNUSED_SIBLINGS = ("ChromaInpaintPipeline", "LatentConsistencyModelImg2ImgPipeline")
# Packages that pipelines need besides those of the studio.
NEEDED_PACKAGES = {
    "Cosmos2TextToImagePipeline": "cosmos_guardrail",
    "KolorsPipeline": "sentencepiece",
    "OmniGenPipeline": "torchvision",
    "PRXPipeline": "ftfy",
}
# Parts of the names of parameters that only pipelines for something else have.
VIDEO_NAMES, PICTURE_NAMES = ("video", "frames"), ("control", "condtioning", "mask_image")
# Sides are multiples of this many pixels, which is one of what any of the pipelines asks for.
MULTIPLE = 32
# The length limit of a prompt, in tokens, where the class does not say: that of CLIP, and that of other encoders.
CLIP_TOKENS, OTHER_TOKENS = 77, 512


def get_family(pipeline: str) -> Family:
    """Returns the family of a pipeline class. Raises KeyError for a class that cannot be used."""
    family = find_family(pipeline)
    if family is None:
        raise KeyError(pipeline)
    return family


@cache
def find_family(pipeline: str) -> Family | None:
    """Returns the family of a pipeline class, None if it cannot be used. Reads the disk for classes without a row."""
    if pipeline in FAMILIES:
        return FAMILIES[pipeline]
    stock = read_stock_pipeline(pipeline)
    return None if stock is None or find_obstacle(stock) is not None else derive_family(stock)


def describe_obstacle(pipeline: str) -> str:
    """Returns why a pipeline class cannot be used, as a clause."""
    stock = read_stock_pipeline(pipeline)
    obstacle = find_obstacle(stock) if stock is not None else None
    return obstacle or "the installed diffusers has no such class"


def find_obstacle(stock: StockPipeline) -> str | None:
    """Returns why pictures cannot be drawn with a pipeline class, None if they can."""
    asked, parts = stock.parameters, stock.components
    image = asked.get("image")
    if stock.name in EXCLUDED:
        return EXCLUDED[stock.name]
    package = NEEDED_PACKAGES.get(stock.name)
    if package is not None and find_spec(package) is None:
        return f"it needs the package {package}"
    if stock.folder.startswith("deprecated"):
        return "diffusers does not maintain it any more"
    if not {"prompt", "height", "width", "num_inference_steps"} <= asked.keys() or has_part(asked, VIDEO_NAMES):
        return DRAWS_NOTHING
    if has_part(asked, PICTURE_NAMES) or (image is not None and not image.is_optional):
        return NEEDS_PICTURE
    if "pag_applied_layers" in parts:
        return "it changes the layers of its denoiser during a job, which jobs share"
    if sum("transformer" in name or "unet" in name or name in ("prior", "decoder") for name in parts) != 1:
        return "it does not have one denoiser"
    if "vae" not in parts or "scheduler" not in parts:
        return "it has no vae"
    return None


def has_part(names: Iterable[str], parts: Sequence[str]) -> bool:
    """Returns whether any of the names contains any of the parts."""
    return any(part in name for name in names for part in parts)


def derive_family(stock: StockPipeline) -> Family:
    """Returns the family of a pipeline class without an obstacle."""
    denoiser = next(name for name in DENOISERS if name in stock.components)
    argument, guidance, scale = derive_guidance(stock)
    return Family(
        pipeline=stock.name,
        name=stock.name.removesuffix("Pipeline"),
        denoiser=denoiser,
        width=get_number(stock.parameters["width"], TRANSFORMER.width),
        height=get_number(stock.parameters["height"], TRANSFORMER.height),
        max_side=TRANSFORMER.max_side,
        steps=get_number(stock.parameters["num_inference_steps"], TRANSFORMER.steps),
        guidance_scale=scale,
        guidance=guidance,
        guidance_argument=argument,
        guidance_offset=1.0 if stock.offset_guidance else 0.0,
        sampler="Default",
        samplers=("Default",),
        multiple=MULTIPLE,
        tokens=derive_tokens(stock, denoiser),
        image_to_image="image" in stock.parameters or find_sibling(stock, "Img2Img") is not None,
        inpainting=find_sibling(stock, "Inpaint") is not None,
        strength=find_sibling(stock, "Img2Img") is not None,
        clip_skip="clip_skip" in stock.parameters,
        step_cache=False,
        loras=False,
        shared_passes=stock.name not in OWN_PASSES,
    )


def find_sibling(stock: StockPipeline, kind: str) -> str | None:
    """Returns the name of the class with the same components for pictures of pictures, None if there is none.

    `kind` is the part of its name: "Img2Img" or "Inpaint".
    """
    name = f"{stock.name.removesuffix('Pipeline')}{kind}Pipeline"
    sibling = read_stock_pipeline(name) if name not in UNUSED_SIBLINGS else None
    has_same_parts = sibling is not None and sibling.components.keys() <= stock.components.keys()
    return name if has_same_parts and sibling is not None and "strength" in sibling.parameters else None


def derive_guidance(stock: StockPipeline) -> tuple[str | None, Guidance, float]:
    """Returns the argument for the guidance scale, how the prompt is followed, and the default scale.

    A scale whose default is None has no effect. Without a negative prompt the scale is all there is to choose.
    """
    asked = stock.parameters
    names = ("guidance_scale", "true_cfg_scale", "distilled_guidance_scale")
    name = next((name for name in names if isinstance(asked.get(name, Parameter()).default, int | float)), None)
    if name is None:
        return None, "none", 1.0
    default = asked[name].default
    assert isinstance(default, int | float)
    scale = max(1.0, float(default) + (1.0 if stock.offset_guidance else 0.0))
    if name == "distilled_guidance_scale" or "negative_prompt" not in asked:
        return name, "embedded", scale
    return name, "true" if name == "true_cfg_scale" else "classifier-free", scale


def derive_tokens(stock: StockPipeline, denoiser: str) -> int:
    """Returns the length limit of a prompt in tokens."""
    for parameters in (stock.parameters, stock.encoder_parameters):
        limit = get_number(parameters.get("max_sequence_length", Parameter()), 0)
        if limit:
            return limit
    known = stock.constants.get("tokenizer_max_length") or stock.constants.get("default_max_sequence_length")
    return known or (CLIP_TOKENS if denoiser == "unet" else OTHER_TOKENS)


def get_number(parameter: Parameter, otherwise: int) -> int:
    """Returns the default of a parameter, or another number where it has none."""
    return parameter.default if isinstance(parameter.default, int) else otherwise
