"""The model families, by the class name of their pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from imagegen.engine.families.base import ModelFamily
from imagegen.engine.families.derived import DerivedFamily
from imagegen.engine.families.flux import Flux
from imagegen.engine.families.flux2_klein import Flux2Klein
from imagegen.engine.families.flux_kontext import FluxKontext
from imagegen.engine.families.hidream_image import HiDreamImage
from imagegen.engine.families.qwen_image import QwenImage
from imagegen.engine.families.qwen_image21 import QwenImage21
from imagegen.engine.families.qwen_image_edit import QwenImageEdit, QwenImageEditPlus
from imagegen.engine.families.sana import Sana
from imagegen.engine.families.stable_diffusion import StableDiffusion, StableDiffusionXL
from imagegen.engine.families.stable_diffusion_3 import StableDiffusion3
from imagegen.engine.families.z_image import ZImage
from imagegen.library.families import get_family

MODEL_FAMILIES: Mapping[str, ModelFamily] = {
    family.facts.pipeline: family
    for family in (
        StableDiffusion(),
        StableDiffusionXL(),
        StableDiffusion3(),
        Flux(),
        FluxKontext(),
        Flux2Klein(),
        ZImage(),
        QwenImage(),
        QwenImageEdit(),
        QwenImageEditPlus(),
        Sana(),
    )
}


# Derived families that need something more than what their class says.
DERIVED_CLASSES: Mapping[str, type[DerivedFamily]] = {
    "HiDreamImagePipeline": HiDreamImage,
    "QwenImage21Pipeline": QwenImage21,
}


@cache
def get_model_family(pipeline: str) -> ModelFamily:
    """Returns the family of a pipeline class, derived from it if there is no row. Raises KeyError if there is none."""
    family_class = DERIVED_CLASSES.get(pipeline, DerivedFamily)
    return MODEL_FAMILIES.get(pipeline) or family_class(get_family(pipeline))
