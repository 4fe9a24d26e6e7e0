"""VAEs on disk: which latents they make, by configuration, metadata and name; folders, files and the Hub's cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagegen.errors import NotOnDisk, UnknownModel, UnusableModel
from imagegen.jobs.sources import resolve_request
from imagegen.library.resource import ResourceReference
from imagegen.library.snapshots import Snapshots
from imagegen.library.vae_latents import find_model_latents
from imagegen.library.vaes import VaeIndex
from imagegen.schema.models import Latents
from imagegen.schema.request import GenerationRequest
from imagegen.schema.validation import fill_in_defaults
from tests.doubles import make_library
from tests.unit.in_process_studio import run_in_process_studio
from tests.unit.model_files import (
    VAE_CONFIG,
    make_snapshot_folder,
    write_json,
    write_tensors,
    write_unet_model,
    write_vae,
)

SD, XL = "Stable Diffusion 1 and 2", "Stable Diffusion XL"
ORIGINAL = {
    "encoder.conv_in.weight": (128, 3, 3, 3),
    "decoder.conv_in.weight": (512, 4, 3, 3),
    "decoder.mid.block_1.conv1.weight": (512, 512, 3, 3),
}
BLOCKS = VAE_CONFIG["block_out_channels"]


@pytest.fixture
def index(tmp_path: Path) -> VaeIndex:
    (tmp_path / "vaes").mkdir()
    return VaeIndex("vae", (tmp_path / "vaes",), Snapshots(tmp_path / "hub"))


@pytest.mark.parametrize(
    ("name", "config", "expected"),
    [
        ("mine", {"scaling_factor": 0.18215}, (4, 8, SD)),
        ("mine", {}, (4, 8, SD)),
        ("mine", {"scaling_factor": 0.13025}, (4, 8, XL)),
        ("mine", {"scaling_factor": 0.3611, "latent_channels": 16}, (16, 8, "FLUX.1")),
        ("mine", {"scaling_factor": 1.5305, "latent_channels": 16}, (16, 8, "Stable Diffusion 3")),
        ("mine", {"scaling_factor": 0.5}, (4, 8, "latents scaled by 0.5")),
        ("mine", {"block_out_channels": BLOCKS[1:], "scaling_factor": 0.13025}, (4, 4, XL)),
        ("taesd", {"_class_name": "AutoencoderTiny"}, (4, 8, SD)),
        ("taesdxl", {"_class_name": "AutoencoderTiny", "scaling_factor": 1.0}, (4, 8, XL)),
        ("taef1", {"_class_name": "AutoencoderTiny", "latent_channels": 16}, (16, 8, "FLUX.1")),
        ("taesd3", {"_class_name": "AutoencoderTiny", "latent_channels": 16}, (16, 8, "Stable Diffusion 3")),
        ("small", {"_class_name": "AutoencoderTiny"}, (4, 8, "unknown")),
        ("sdxl-like", {"_class_name": "AutoencoderTiny", "scaling_factor": 1.0008}, (4, 8, "latents scaled by 1.0008")),
    ],
    ids=str,
)
def test_a_configuration_says_which_latents(
    index: VaeIndex, tmp_path: Path, name: str, config: dict[str, Any], expected: tuple[int, int, str]
) -> None:
    write_vae(tmp_path / "vaes" / name, **config)
    info = index.get(name).info
    assert info.latents == Latents(channels=expected[0], pixels=expected[1], architecture=expected[2])
    assert info.architecture == expected[2]


@pytest.mark.parametrize(
    ("name", "metadata", "expected"),
    [
        ("vae-ft-mse-840000-ema-pruned", {}, SD),
        ("sdxl_vae", {}, XL),
        ("anime", {}, "unknown"),
        ("anime", {"modelspec.architecture": "stable-diffusion-xl-v1-base/vae"}, XL),
        ("sdxl_vae", {"modelspec.architecture": "stable-diffusion-v1/vae"}, SD),
    ],
)
def test_metadata_or_a_name_says_it_of_a_file(
    index: VaeIndex, tmp_path: Path, name: str, metadata: dict[str, str], expected: str
) -> None:
    for prefix in ("", "first_stage_model."):
        shapes = {prefix + tensor: shape for tensor, shape in ORIGINAL.items()}
        write_tensors(tmp_path / "vaes" / f"{name}.safetensors", shapes, metadata)
        assert index.get(name).info.latents == Latents(channels=4, pixels=8, architecture=expected)
    assert index.list_ids() == [name]


@pytest.mark.parametrize(
    ("shapes", "config", "problem"),
    [
        ({"lora.up.weight": (4, 4)}, None, "it contains no VAE"),
        (ORIGINAL | {"decoder.conv_in.weight": (512, 16, 3, 3)}, None, "16 channels, and it needs a config.json"),
        (ORIGINAL, {"_class_name": "AutoencoderDC"}, "AutoencoderDC; it can be AutoencoderKL or AutoencoderTiny"),
        (ORIGINAL, {"_class_name": "AutoencoderKL"}, "no block_out_channels"),
        (ORIGINAL, [], "cannot be read"),
        (ORIGINAL, {"block_out_channels": BLOCKS, "norm_num_groups": 10**12}, "config.json: norm_num_groups"),
    ],
    ids=str,
)
def test_what_is_no_vae_is_refused_with_the_reason(
    index: VaeIndex, tmp_path: Path, shapes: dict[str, tuple[int, ...]], config: object, problem: str
) -> None:
    write_tensors(tmp_path / "vaes" / "other" / "vae.safetensors", shapes)
    if config is not None:
        write_json(tmp_path / "vaes" / "other" / "config.json", config)
    assert index.list_ids() == []
    with pytest.raises(UnusableModel, match=problem):
        index.get("other" if config is not None else "other/vae")


def test_a_pickle_is_refused(index: VaeIndex, tmp_path: Path) -> None:
    (tmp_path / "vaes" / "anime.vae.pt").write_bytes(b"pickle")
    for name in ("anime.vae.pt", "anime.vae"):
        with pytest.raises(UnusableModel, match="it is a pickle"):
            index.get(name)


def test_one_of_the_hub_has_the_name_of_its_repository(index: VaeIndex, tmp_path: Path) -> None:
    folder = make_snapshot_folder(tmp_path / "hub", "someone/sd-vae")
    weights = write_vae(folder)
    assert index.get("someone/sd-vae").path == weights
    with pytest.raises(NotOnDisk):
        index.get("someone/other")
    with pytest.raises(UnknownModel):
        index.get("nothing")


def test_a_model_with_another_kind_of_autoencoder_can_use_no_vae() -> None:
    assert find_model_latents({"_class_name": "AutoencoderDC"}) is None
    own = find_model_latents({"_class_name": "AutoencoderKL", "block_out_channels": BLOCKS})
    assert own == Latents(channels=4, pixels=8, architecture=SD)


def test_latents_fit_if_their_shape_and_their_architecture_do() -> None:
    own = Latents(channels=4, pixels=8, architecture=SD)
    assert own.fits(own) and own.model_copy(update={"architecture": "unknown"}).fits(own)
    for other in ({"channels": 16}, {"pixels": 4}, {"architecture": XL}):
        assert not own.model_copy(update=other).fits(own)


def test_a_catalogue_may_name_the_vae_of_a_model(tmp_path: Path) -> None:
    models = tmp_path / "models"
    write_unet_model(models / "mine")
    entry = {"id": "with-vae", "name": "x", "path": "mine", "pipeline": "StableDiffusionPipeline", "vae": "better"}
    write_json(models / "catalogue.json", [entry])
    resource = make_library(tmp_path).model_resource
    assert resource.list_missing_parts("with-vae") == [ResourceReference("vae", "better")]
    with pytest.raises(NotOnDisk):
        resource.resolve("with-vae")
    write_vae(models / "vaes" / "better")
    info, _ = resource.resolve("with-vae")
    request = GenerationRequest(prompt="x", model="with-vae")
    assert fill_in_defaults(request, info, seed=1).vae == "better"
    assert fill_in_defaults(request.model_copy(update={"vae": "other"}), info, seed=1).vae == "other"


async def test_previews_are_made_with_the_small_vae_for_the_latents_of_the_model(tmp_path: Path) -> None:
    """That a VAE is small is in its configuration, and for which latents it is in its name."""
    folder = tmp_path / "models" / "vaes"
    write_vae(folder / "a-large-one-for-sd1")
    for name in ("small", "taesd", "taesd3"):
        write_vae(folder / name, _class_name="AutoencoderTiny")
    write_unet_model(tmp_path / "models" / "sd")
    write_unet_model(tmp_path / "models" / "xl", 2048, "StableDiffusionXLPipeline")
    write_json(tmp_path / "models" / "xl" / "vae" / "config.json", VAE_CONFIG | {"scaling_factor": 0.13025})
    downloaded = make_snapshot_folder(tmp_path / "cache", "someone/taesd-for-xl")
    write_vae(downloaded, _class_name="AutoencoderTiny")
    async with run_in_process_studio(tmp_path) as studio:
        manager = studio.service.model_manager
        _, of_the_hub = resolve_request(manager, GenerationRequest(prompt="a boat", model="xl"))
        assert of_the_hub.preview_decoder is not None and of_the_hub.preview_decoder.id == "someone/taesd-for-xl"
        _, sources = resolve_request(manager, GenerationRequest(prompt="a boat", model="sd"))
        assert sources.preview_decoder is not None and sources.preview_decoder.id == "taesd"
        assert sources.adapters == ()
        _, of_other_latents = resolve_request(manager, GenerationRequest(prompt="a boat", model="embedded"))
        assert of_other_latents.preview_decoder is None
