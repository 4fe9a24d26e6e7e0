"""Single-file models load with the owner's configuration or the shipped one, and never from the network."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
import transformers
from diffusers import FluxTransformer2DModel
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from imagegen.engine.engine import EngineResult
from imagegen.engine.models.loading import load_pipeline
from imagegen.engine.models.single_file import load_tokenizers
from imagegen.errors import ModelLoadFailed
from imagegen.library.checkpoint_detection import CONFIGS_DIR
from imagegen.library.family_facts import ALL_SAMPLERS
from imagegen.library.model_info import describe_model
from imagegen.library.prompt_tokens import CLIP_TOKENIZER_FOLDER
from imagegen.library.weight_files import has_weights, read_components
from imagegen.schema.models import ModelSource
from tests.hub.flow_matching import flux_fill
from tests.hub.single_file import flux, single_file
from tests.hub.tiny import TINY
from tests.integration.engine_harness import EngineHarness
from tests.unit.model_files import write_json
from training.clip_vocabulary import build_vocabulary

PIPELINES = {
    "tiny-sd15": "StableDiffusionPipeline",
    "tiny-sd21": "StableDiffusionPipeline",
    "tiny-sdxl": "StableDiffusionXLPipeline",
}
# The catalogue's id of a file, the folder with its configuration, and the markers in the file.
FILES = {
    "sd": ("tiny-sd15", ()),
    "sd2": ("tiny-sd21", ()),
    "xl": ("tiny-sdxl", ()),
    "sd-velocity": ("tiny-sd15", ("v_pred", "ztsnr")),
    "xl-velocity": ("tiny-sdxl", ("v_pred",)),
    "xl-from-noise": ("tiny-sdxl", ("v_pred", "ztsnr")),
}
SD_XL = {
    "unet": 2_567_463_684,
    "vae": 83_653_863,
    "text_encoder": 123_060_480,
    "text_encoder_2": 694_659_840,
}
PARAMETERS = {
    "sd-1": {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480},
    "sd-2": {"unet": 865_910_724, "vae": 83_653_863, "text_encoder": 340_387_840},
    "sd-2-base": {"unet": 865_910_724, "vae": 83_653_863, "text_encoder": 340_387_840},
    "sd-xl": SD_XL,
    "cosxl": SD_XL,
    "playground-2.5": SD_XL,
}
CAT = [49406, 320, 1125, 539, 320, 2368, 49407]
END = 49407


@pytest.fixture(scope="module")
def single_file_models(tmp_path_factory: pytest.TempPathFactory) -> EngineHarness:
    """Tiny models as folders and as single files."""
    folder = tmp_path_factory.mktemp("files")
    entries = []
    for model, pipeline in PIPELINES.items():
        TINY[model](folder / model)
        single_file(folder / model, folder / f"{model}.safetensors")
        weights = load_file(folder / f"{model}.safetensors")
        for name, (_, markers) in ((name, file) for name, file in FILES.items() if file[0] == model):
            save_file(weights | {marker: torch.tensor([]) for marker in markers}, folder / f"{name}.safetensors")
            entry = {"id": name, "name": name, "path": f"{name}.safetensors", "config": model, "pipeline": pipeline}
            entries.append(entry)
    write_json(folder / "catalogue.json", entries)
    return EngineHarness(folder)


def add_file(harness: EngineHarness, name: str, weights: dict[str, Tensor], base: str = "sd", **metadata: str) -> str:
    """Writes a file with the configuration of another model, and returns its name."""
    entry = harness.models.entries[base]
    save_file(weights, harness.folder / f"{name}.safetensors", metadata)
    harness.models.entries[name] = entry.model_copy(update={"id": name, "path": harness.folder / f"{name}.safetensors"})
    return name


def scale_to_fp8(weights: dict[str, Tensor], name: str, per_output: bool) -> tuple[dict[str, Tensor], Tensor]:
    """Returns the tensors with one weight in fp8 and its scale, and what the weight is then."""
    weight = weights[name].float()
    largest = weight.abs().amax(dim=tuple(range(1, weight.ndim))) if per_output else weight.abs().max()
    scale = largest / 448
    shape = (-1, *[1] * (weight.ndim - 1))
    packed = (weight / scale.reshape(shape)).to(torch.float8_e4m3fn)
    layer = name.removesuffix("weight")
    scales = {f"{layer}scale_weight": scale, f"{layer}scale_input": torch.ones(()), "scaled_fp8": torch.zeros(0)}
    return {**weights, name: packed, **scales}, packed.float() * scale.reshape(shape)


@pytest.mark.parametrize("name", ["sd", "xl"])
def test_the_names_of_2022_make_the_same_picture(single_file_models: EngineHarness, name: str) -> None:
    weights = load_file(single_file_models.model(name)[1].path)
    old = {each.replace(".transformer.text_model.", ".transformer."): weight for each, weight in weights.items()}
    assert old.keys() != weights.keys()
    file = add_file(single_file_models, f"{name}-2022", old, name)
    assert single_file_models.generate_image(file).tobytes() == single_file_models.generate_image(name).tobytes()


@pytest.mark.parametrize("per_output", [False, True])
def test_weights_in_fp8_are_multiplied_by_their_scale(single_file_models: EngineHarness, per_output: bool) -> None:
    weights = load_file(single_file_models.model("sd")[1].path)
    layer = "middle_block.1.transformer_blocks.0.attn2.to_k.weight"
    scaled, expected = scale_to_fp8(weights, f"model.diffusion_model.{layer}", per_output)
    name = add_file(single_file_models, f"fp8-{per_output}", scaled)
    unet = load_harness_pipeline(single_file_models, name).unet
    found = unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_k.weight
    assert torch.equal(found, expected)
    assert not torch.equal(found, scaled[f"model.diffusion_model.{layer}"].float())


def test_metadata_of_velocity_make_the_picture_of_a_velocity_scheduler(
    single_file_models: EngineHarness, tmp_path: Path
) -> None:
    """The folder that it is compared with has the prediction type in its scheduler, as diffusers reads it."""
    weights = load_file(single_file_models.model("sd")[1].path)
    file = add_file(single_file_models, "said", weights, **{"modelspec.prediction_type": "v"})
    folder = single_file_models.folder / "velocity"
    shutil.copytree(single_file_models.folder / "tiny-sd15", folder)
    scheduler = folder / "scheduler" / "scheduler_config.json"
    write_json(scheduler, json.loads(scheduler.read_bytes()) | {"prediction_type": "v_prediction"})
    picture = single_file_models.generate_image(file)
    assert picture.tobytes() == single_file_models.generate_image("velocity").tobytes()
    assert picture.tobytes() != single_file_models.generate_image("sd").tobytes()


@pytest.mark.parametrize(
    ("table", "problem"), [("alphas_cumprod", "is not that of"), ("scale_factor", "is not 0.18215")]
)
def test_tables_of_another_training_are_refused(single_file_models: EngineHarness, table: str, problem: str) -> None:
    """The published tables, as CompVis computes them, are accepted; others are refused by name."""
    weights = load_file(single_file_models.model("sd")[1].path)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    tables = {"alphas_cumprod": torch.cumprod(1 - betas, 0).half(), "scale_factor": torch.tensor(0.18215)}
    name = add_file(single_file_models, f"right-{table}", weights | tables)
    load_harness_pipeline(single_file_models, name)
    name = add_file(single_file_models, f"wrong-{table}", weights | tables | {table: tables[table] * 0.9})
    with pytest.raises(ModelLoadFailed, match=f"its tensor {table} {problem}"):
        load_harness_pipeline(single_file_models, name)


EDM_FILES = {
    "cosxl": {"edm_vpred.sigma_max": torch.tensor(120.0), "edm_vpred.sigma_min": torch.tensor(0.002)},
    "playground-2.5": {
        "edm_mean": torch.tensor([-1.6574, 1.886, -1.383, 2.5155]),
        "edm_std": torch.tensor([8.4927, 5.9022, 6.5498, 5.2299]),
    },
}


@pytest.mark.parametrize("name", EDM_FILES)
@pytest.mark.parametrize("has_start", [False, True])
def test_a_model_with_the_noise_levels_of_edm_draws_as_by_diffusers(
    single_file_models: EngineHarness, name: str, has_start: bool
) -> None:
    """The scheduler and the latents are those that the publishers give for CosXL and for Playground 2.5."""
    folder = single_file_models.folder / name
    if not folder.exists():
        shutil.copytree(single_file_models.folder / "tiny-sdxl", folder)
        shutil.copytree(CONFIGS_DIR / name / "scheduler", folder / "scheduler", dirs_exist_ok=True)
        copy_keys(CONFIGS_DIR / name, folder, "model_index.json", "scheduler")
        copy_keys(CONFIGS_DIR / name, folder, "vae/config.json", "scaling_factor", "latents_mean", "latents_std")
    entry = single_file_models.models.entries["xl"]
    single_file_models.models.entries["xl"] = entry.model_copy(update={"config": folder})
    weights = load_file(single_file_models.folder / "tiny-sdxl.safetensors")
    file = add_file(single_file_models, f"file-{name}", weights | EDM_FILES[name], "xl")
    single_file_models.models.entries["xl"] = entry
    info = single_file_models.model(file)[0]
    assert info.can.samplers == ("DPM++ 2M", "Euler", "DPM++ 2M SDE")
    start = Image.linear_gradient("L").resize((64, 64)).convert("RGB") if has_start else None
    *_, last = single_file_models.run(single_file_models.make_inputs(file, start=start, steps=4, seed=1))
    assert isinstance(last, EngineResult)
    kind: Any = diffusers.StableDiffusionXLImg2ImgPipeline if has_start else diffusers.StableDiffusionXLPipeline
    pipeline = kind.from_pretrained(folder, dtype=torch.float32)
    pipeline.scheduler = diffusers.EDMDPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    size = {"image": start, "strength": info.strength} if has_start else {"width": 64, "height": 64}
    expected = pipeline(
        "a red circle",
        num_inference_steps=4,
        guidance_scale=info.guidance_scale,
        generator=torch.Generator().manual_seed(1),
        **size,
    ).images[0]
    difference = np.abs(np.asarray(last.images[0], int) - np.asarray(expected, int))
    assert difference.max() <= 1 and np.asarray(expected).std() > 1


def copy_keys(source: Path, target: Path, file: str, *keys: str) -> None:
    """Copies values from a configuration of one model to that of another."""
    values = json.loads((source / file).read_bytes())
    known = json.loads((target / file).read_bytes())
    write_json(target / file, known | {key: values[key] for key in keys if key in values})


@pytest.fixture(scope="module")
def flux_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny models of FLUX.1."""
    folder = tmp_path_factory.mktemp("flux")
    for name, build in (("tiny-flux-dev", TINY["tiny-flux-dev"]), ("tiny-flux-fill", flux_fill)):
        build(folder / name)
    return folder


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
@pytest.mark.parametrize("name", ["tiny-flux-dev", "tiny-flux-fill"])
def test_a_denoiser_of_flux_has_each_weight_of_its_file(
    flux_models: Path, tmp_path: Path, name: str, prefix: str
) -> None:
    """The other parts come from the model for text to image, whose denoiser has fewer input channels than Fill's."""
    transformer = FluxTransformer2DModel.from_pretrained(flux_models / name, subfolder="transformer")
    file = tmp_path / "flux.safetensors"
    weights = {prefix + each: weight.contiguous() for each, weight in flux(transformer).items()}
    layer = f"{prefix}single_blocks.1.linear2"
    weights, scaled = scale_to_fp8(weights, f"{layer}.weight", per_output=False)
    save_file(weights, file)
    config = flux_models / "tiny-flux-dev"
    source = ModelSource(id="flux", name="flux", pipeline="FluxPipeline", path=file, config=config)
    loaded: Any = load_pipeline(source, torch.float32)
    expected = transformer.state_dict() | {"single_transformer_blocks.1.proj_out.weight": scaled}
    found = loaded.transformer.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[each], expected[each]) for each in expected)
    assert loaded.transformer.config.in_channels == transformer.config.in_channels
    save_file(weights | {f"{prefix}double_blocks.2.img_mod.lin.bias": torch.zeros(4)}, file)
    with pytest.raises(ModelLoadFailed, match=r"double_blocks\.2\.img_mod\.lin\.bias has no place in its networks"):
        load_pipeline(source, torch.float32)


def load_harness_pipeline(harness: EngineHarness, name: str) -> Any:
    return load_pipeline(harness.model(name)[1], torch.float32)


@pytest.mark.parametrize("name", ["sd", "sd2", "xl"])
def test_a_file_paints_what_the_folder_it_was_made_from_does(single_file_models: EngineHarness, name: str) -> None:
    assert (
        single_file_models.generate_image(name).tobytes() == single_file_models.generate_image(FILES[name][0]).tobytes()
    )


def test_a_file_that_was_trained_to_inpaint_says_so_by_its_weights(single_file_models: EngineHarness) -> None:
    """Its configuration is that of the model that it was made from."""
    folder, first_layer = single_file_models.folder, "model.diffusion_model.input_blocks.0.0.weight"
    weights = load_file(folder / "tiny-sd15.safetensors")
    more_channels = torch.full((len(weights[first_layer]), 5, 3, 3), 0.1, dtype=weights[first_layer].dtype)
    weights[first_layer] = torch.cat([weights[first_layer], more_channels], dim=1)
    info, source = single_file_models.model("sd")
    file = folder / "inpainting.safetensors"
    save_file(weights, file)
    source = source.model_copy(update={"path": file, "id": "inpainting"})
    info = describe_model(single_file_models.models.entries["sd"], source)
    assert (info.can.inpainting, info.can.text_to_image, info.can.image_to_image) == (True, False, False)
    start, mask = Image.new("RGB", (64, 64), "navy"), Image.new("L", (64, 64))
    mask.paste(255, (16, 16, 48, 48))
    inputs = single_file_models.make_inputs("sd", start=start, mask=mask, mask_blur=0)
    *_, last = single_file_models.run(replace(inputs, model=source))
    assert isinstance(last, EngineResult)
    assert last.images[0].crop((0, 0, 64, 16)).getcolors() == [(64 * 16, (0, 0, 128))]
    assert len(last.images[0].getcolors(64 * 64) or []) > 100


def test_loading_logs_nothing(single_file_models: EngineHarness, capfd: pytest.CaptureFixture[str]) -> None:
    load_harness_pipeline(single_file_models, "xl")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "prediction", "spacing", "from_noise"),
    [
        ("sd", "epsilon", "leading", None),
        ("xl", "epsilon", "leading", False),
        ("sd-velocity", "v_prediction", "trailing", True),
        ("xl-velocity", "v_prediction", "leading", False),
        ("xl-from-noise", "v_prediction", "trailing", True),
    ],
)
def test_markers_in_the_file_decide_the_prediction_type(
    single_file_models: EngineHarness, name: str, prediction: str, spacing: str, from_noise: bool | None
) -> None:
    config = load_harness_pipeline(single_file_models, name).scheduler.config
    marker_values = (config.prediction_type, config.timestep_spacing, config.get("rescale_betas_zero_snr"))
    assert marker_values == (prediction, spacing, from_noise)


@pytest.mark.parametrize("sampler", ALL_SAMPLERS)
def test_every_sampler_starts_from_pure_noise(single_file_models: EngineHarness, sampler: str) -> None:
    *_, last = single_file_models.run(single_file_models.make_inputs("xl-from-noise", sampler=sampler))
    assert isinstance(last, EngineResult)


def test_a_file_that_changed_since_it_was_listed_is_checked_again(
    single_file_models: EngineHarness, tmp_path: Path
) -> None:
    file, source = tmp_path / "cut.safetensors", single_file_models.model("sd")[1]
    weights = load_file(source.path)
    del weights["model.diffusion_model.out.2.bias"]
    save_file(weights, file)
    with pytest.raises(ModelLoadFailed, match=r"it has no tensor model\.diffusion_model\.out\.2\.bias"):
        load_pipeline(source.model_copy(update={"path": file}), torch.float32)


@pytest.mark.parametrize("folder", PARAMETERS)
def test_our_configurations_are_of_the_published_architectures(folder: str) -> None:
    parts = {part: kind for part, kind in read_components(CONFIGS_DIR / folder).items() if has_weights(kind[1])}
    assert {part: parameters(CONFIGS_DIR / folder / part, *kind) for part, kind in parts.items()} == PARAMETERS[folder]


def parameters(folder: Path, library: str, name: str) -> int:
    kind: Any = getattr({"diffusers": diffusers, "transformers": transformers}[library], name)
    with torch.device("meta"):
        if library == "diffusers":
            network = kind.from_config(kind.load_config(folder))
        else:
            network = kind(kind.config_class.from_pretrained(folder))
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("folder", "padding"), [("sd-1", {"tokenizer": END}), ("sd-2", {"tokenizer": 0}), ("sd-xl", None)]
)
def test_a_shipped_configuration_gets_clips_tokenizer(folder: str, padding: dict[str, int] | None) -> None:
    found = load_tokenizers(CONFIGS_DIR / folder)
    assert {part: each.pad_token_id for part, each in found.items()} == (
        padding or {"tokenizer": END, "tokenizer_2": 0}
    )
    for each in found.values():
        assert each("a photo of a cat").input_ids == CAT
        assert each("cat!", add_special_tokens=False).input_ids == [2368, 256]
        filled = each("a photo of a cat", padding="max_length").input_ids
        assert filled == CAT + [each.pad_token_id] * (77 - len(CAT))


def test_an_owners_tokenizer_comes_before_ours(single_file_models: EngineHarness) -> None:
    assert len(load_harness_pipeline(single_file_models, "sd").tokenizer) < 49_408


def test_the_vocabulary_is_what_its_merges_make() -> None:
    _, *pairs = (CLIP_TOKENIZER_FOLDER / "merges.txt").read_text(encoding="utf-8").splitlines()
    tokens, merges = build_vocabulary(pairs)
    assert merges == pairs
    assert json.loads((CLIP_TOKENIZER_FOLDER / "vocab.json").read_bytes()) == {
        token: place for place, token in enumerate(tokens)
    }
