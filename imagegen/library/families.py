"""The family of a pipeline class: known well, or derived from the class. Needs no torch.

The families in `family_facts` are written by hand. For any other text-to-image class of the installed diffusers, a
family is derived from what its source says: see `pipeline_signatures`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Literal

from imagegen.library.family_facts import FAMILIES, FLUX, FLUX2_KLEIN, SANA, TRANSFORMER, Family
from imagegen.library.pipeline_signatures import Parameter, PipelineSignature, read_pipeline_signature
from imagegen.schema.models import Guidance

DENOISERS: tuple[Literal["unet", "transformer"], ...] = ("transformer", "unet")
DRAWS_NOTHING = "it does not draw a picture of a given size from a prompt"
NEEDS_PICTURE = "it needs a picture besides the prompt"
# Pipelines that cannot be used, and why. Their signatures do not show it.
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
# Pipelines whose LoRAs are used, and the family whose layers have the same names, if there is one: nothing tells their
# LoRAs apart.
LORA_FAMILIES: dict[str, Family | None] = {
    "ChromaPipeline": FLUX,
    "CogView4Pipeline": None,
    "Flux2Pipeline": FLUX2_KLEIN,
    "HiDreamImagePipeline": None,
    "Krea2Pipeline": None,
    "SanaSprintPipeline": SANA,
}
# Pipelines whose start image can be several pictures.
SEVERAL_PICTURES = ("Flux2Pipeline",)
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
    signature = read_pipeline_signature(pipeline)
    return None if signature is None or find_obstacle(signature) is not None else derive_family(signature)


def describe_obstacle(pipeline: str) -> str:
    """Returns why a pipeline class cannot be used, as a clause."""
    signature = read_pipeline_signature(pipeline)
    obstacle = find_obstacle(signature) if signature is not None else None
    return obstacle or "the installed diffusers has no such class"


def find_obstacle(signature: PipelineSignature) -> str | None:
    """Returns why pictures cannot be drawn with a pipeline class, None if they can."""
    parameters, components = signature.parameters, signature.components
    image = parameters.get("image")
    if signature.name in EXCLUDED:
        return EXCLUDED[signature.name]
    package = NEEDED_PACKAGES.get(signature.name)
    if package is not None and find_spec(package) is None:
        return f"it needs the package {package}"
    if signature.folder.startswith("deprecated"):
        return "diffusers does not maintain it any more"
    if not {"prompt", "height", "width", "num_inference_steps"} <= parameters.keys() or has_part(
        parameters, VIDEO_NAMES
    ):
        return DRAWS_NOTHING
    if has_part(parameters, PICTURE_NAMES) or (image is not None and not image.is_optional):
        return NEEDS_PICTURE
    if "pag_applied_layers" in components:
        return "it changes the layers of its denoiser during a job, which jobs share"
    if sum("transformer" in name or "unet" in name or name in ("prior", "decoder") for name in components) != 1:
        return "it does not have one denoiser"
    if "vae" not in components or "scheduler" not in components:
        return "it has no vae"
    return None


def has_part(names: Iterable[str], parts: Sequence[str]) -> bool:
    """Returns whether any of the names contains any of the parts."""
    return any(part in name for name in names for part in parts)


def derive_family(signature: PipelineSignature) -> Family:
    """Returns the family of a pipeline class without an obstacle."""
    denoiser = next(name for name in DENOISERS if name in signature.components)
    argument, guidance, scale = derive_guidance(signature)
    lora_family = LORA_FAMILIES.get(signature.name)
    return Family(
        pipeline=signature.name,
        name=signature.name.removesuffix("Pipeline"),
        denoiser=denoiser,
        width=get_number(signature.parameters["width"], TRANSFORMER.width),
        height=get_number(signature.parameters["height"], TRANSFORMER.height),
        max_side=TRANSFORMER.max_side,
        steps=get_number(signature.parameters["num_inference_steps"], TRANSFORMER.steps),
        guidance_scale=scale,
        guidance=guidance,
        guidance_argument=argument,
        guidance_offset=1.0 if signature.offset_guidance else 0.0,
        sampler="Default",
        samplers=("Default",),
        multiple=MULTIPLE,
        tokens=derive_tokens(signature, denoiser),
        image_to_image="image" in signature.parameters or find_sibling(signature, "Img2Img") is not None,
        inpainting=find_sibling(signature, "Inpaint") is not None,
        strength=find_sibling(signature, "Img2Img") is not None,
        clip_skip="clip_skip" in signature.parameters,
        references=signature.name in SEVERAL_PICTURES,
        step_cache=False,
        loras=signature.name in LORA_FAMILIES,
        variant_of=lora_family.name if lora_family is not None else None,
        shared_passes=signature.name not in OWN_PASSES,
    )


def find_sibling(signature: PipelineSignature, kind: str) -> str | None:
    """Returns the name of the class with the same components for pictures of pictures, None if there is none.

    `kind` is the part of its name: "Img2Img" or "Inpaint".
    """
    name = f"{signature.name.removesuffix('Pipeline')}{kind}Pipeline"
    sibling = read_pipeline_signature(name) if name not in UNUSED_SIBLINGS else None
    has_same_parts = sibling is not None and sibling.components.keys() <= signature.components.keys()
    return name if has_same_parts and sibling is not None and "strength" in sibling.parameters else None


def derive_guidance(signature: PipelineSignature) -> tuple[str | None, Guidance, float]:
    """Returns the argument for the guidance scale, how the prompt is followed, and the default scale.

    A scale whose default is None has no effect. Without a negative prompt the scale is all there is to choose.
    """
    parameters = signature.parameters
    names = ("guidance_scale", "true_cfg_scale", "distilled_guidance_scale")
    name = next((name for name in names if isinstance(parameters.get(name, Parameter()).default, int | float)), None)
    if name is None:
        return None, "none", 1.0
    default = parameters[name].default
    assert isinstance(default, int | float)
    scale = max(1.0, float(default) + (1.0 if signature.offset_guidance else 0.0))
    if name == "distilled_guidance_scale" or "negative_prompt" not in parameters:
        return name, "embedded", scale
    return name, "true" if name == "true_cfg_scale" else "classifier-free", scale


def derive_tokens(signature: PipelineSignature, denoiser: str) -> int:
    """Returns the length limit of a prompt in tokens."""
    for parameters in (signature.parameters, signature.encoder_parameters):
        limit = get_number(parameters.get("max_sequence_length", Parameter()), 0)
        if limit:
            return limit
    known = signature.constants.get("tokenizer_max_length") or signature.constants.get("default_max_sequence_length")
    return known or (CLIP_TOKENS if denoiser == "unet" else OTHER_TOKENS)


def get_number(parameter: Parameter, otherwise: int) -> int:
    """Returns the default of a parameter, or another number where it has none."""
    return parameter.default if isinstance(parameter.default, int) else otherwise
