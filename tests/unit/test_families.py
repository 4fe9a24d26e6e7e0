"""A family is derived from what the source of a pipeline class says, or the class is refused with a reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imagegen.errors import InvalidRequest, UnusableModel
from imagegen.library.catalogue import CatalogueEntry
from imagegen.library.families import describe_obstacle, find_family, get_family
from imagegen.library.family_facts import FAMILIES
from imagegen.library.model_info import build_model_info, check_pipeline_class
from imagegen.library.pipeline_signatures import find_pipeline_files, read_pipeline_signature
from imagegen.schema.request import GenerationRequest
from imagegen.schema.validation import fill_in_defaults

# Text-to-image classes that cannot be used. Any other class without a reason must draw.
REASONS = {
    "Cosmos2TextToImagePipeline": "it needs the package cosmos_guardrail",
    "DreamLiteMobilePipeline": "it draws one prompt at a time",
    "DreamLitePipeline": "it draws one prompt at a time",
    "Flux2KleinKVPipeline": "its denoiser keeps a cache from step to step, which jobs cannot share",
    "GlmImagePipeline": "its pictures begin with tokens that are drawn at random without a seed",
    "IFPipeline": "it has no vae",
    "Ideogram4Pipeline": "it does not have one denoiser",
    "Kandinsky3Pipeline": "it has no vae",
    "Kandinsky5T2IPipeline": "it draws pictures of seven sizes only",
    "KandinskyCombinedPipeline": "it has no vae",
    "KandinskyV22CombinedPipeline": "it has no vae",
    "KolorsPipeline": "it needs the package sentencepiece",
    "LDMTextToImagePipeline": "it has no vae",
    "OmniGenPipeline": "it needs the package torchvision",
    "PRXPipeline": "it needs the package ftfy",
    "PRXPixelPipeline": "it has no vae",
    "StableCascadeCombinedPipeline": "it has no vae",
    "StableDiffusionPAGPipeline": "it changes the layers of its denoiser during a job, which jobs share",
    "StableUnCLIPPipeline": "it does not have one denoiser",
}


# Whether a family takes start images, and whether it adds noise to them.
IMAGE_CLASSES = {
    "ChromaPipeline": (True, True),
    "Flux2Pipeline": (True, False),
    "LatentConsistencyModelPipeline": (False, False),
    "PixArtSigmaPipeline": (False, False),
    "SanaSprintPipeline": (True, True),
}


@pytest.mark.parametrize(("name", "reason"), REASONS.items())
def test_a_class_that_cannot_be_used_says_why(name: str, reason: str) -> None:
    assert find_family(name) is None
    with pytest.raises(UnusableModel, match=f"its pipeline is {name}, but {reason}"):
        check_pipeline_class(name, "mine")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("AmusedPipeline", "diffusers does not maintain it any more"),
        ("FluxControlPipeline", "it needs a picture besides the prompt"),
        ("Kandinsky5I2IPipeline", "it needs a picture besides the prompt"),
        ("WanPipeline", "it does not draw a picture of a given size from a prompt"),
        ("MagicPipeline", "the installed diffusers has no such class"),
    ],
)
def test_so_does_a_class_for_something_else(name: str, reason: str) -> None:
    assert find_family(name) is None and describe_obstacle(name) == reason


def test_a_family_that_is_known_well_is_not_derived() -> None:
    assert all(find_family(name) is family for name, family in FAMILIES.items())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ChromaPipeline", {"steps": 35, "guidance_scale": 5.0, "guidance": "classifier-free", "tokens": 512}),
        ("Krea2Pipeline", {"guidance_scale": 5.5, "guidance_offset": 1.0}),
        ("QwenImage21Pipeline", {"guidance": "true", "guidance_argument": "true_cfg_scale"}),
        ("Flux2Pipeline", {"guidance": "embedded", "negative_prompt": False}),
        ("HunyuanImagePipeline", {"guidance_argument": "distilled_guidance_scale", "tokens": 1000}),
        ("LatentConsistencyModelPipeline", {"denoiser": "unet", "clip_skip": True, "tokens": 77, "steps": 4}),
        ("SanaSprintPipeline", {"steps": 2, "width": 1024, "multiple": 32, "samplers": ("Default",)}),
    ],
)
def test_facts_follow_from_the_class(name: str, expected: dict[str, Any]) -> None:
    family = get_family(name)
    assert {field: getattr(family, field) for field in expected} == expected


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"clip_skip": 1}, "clip_skip"),
        ({"init_image": "0" * 64}, "init_image"),
        ({"init_image": "0" * 64, "mask_image": "0" * 64}, "mask_image"),
        ({"loras": [{"lora": "neon"}]}, "loras"),
        ({"sampler": "Euler"}, "sampler: must be one of Default"),
        ({"step_cache": 0.1}, "step_cache"),
        ({"vae": "mine"}, "vae"),
        ({"controls": [{"controlnet": "studio-edges", "image": "0" * 64}]}, "controls"),
        ({"width": 72}, "width: must be a multiple of 32"),
    ],
)
def test_fields_that_a_derived_family_has_not_are_refused_by_name(fields: dict[str, Any], problem: str) -> None:
    entry = CatalogueEntry(id="mine", name="Mine", repository="me/mine", pipeline="PixArtSigmaPipeline")
    with pytest.raises(InvalidRequest, match=rf"^{problem}"):
        fill_in_defaults(GenerationRequest(prompt="a fox", **fields), build_model_info(entry, None), seed=1)


def test_a_negative_prompt_is_refused_where_the_pipeline_has_none() -> None:
    entry = CatalogueEntry(id="mine", name="Mine", repository="me/mine", pipeline="SanaSprintPipeline")
    request = GenerationRequest(prompt="a fox", negative_prompt="blurry")
    with pytest.raises(InvalidRequest, match=r"^negative_prompt"):
        fill_in_defaults(request, build_model_info(entry, None), seed=1)


def test_start_images_are_for_classes_that_take_them() -> None:
    families = {name: get_family(name) for name in IMAGE_CLASSES}
    kinds = {name: (family.image_to_image, family.strength) for name, family in families.items()}
    assert kinds == IMAGE_CLASSES


def test_nothing_of_torch_is_imported_to_derive_a_family() -> None:
    code = "import sys; from imagegen.library.families import get_family; get_family('ChromaPipeline');"
    check = code + "assert not {'torch', 'diffusers', 'transformers'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=Path(__file__).parents[2])


def test_each_class_is_read_from_the_file_that_defines_it() -> None:
    assert find_pipeline_files()["ChromaPipeline"].name == "pipeline_chroma.py"
    inherited = read_pipeline_signature("StableDiffusionXLPAGPipeline")
    assert inherited is not None and "pag_scale" in inherited.parameters and inherited.folder == "pag"
    assert read_pipeline_signature("MagicPipeline") is None
