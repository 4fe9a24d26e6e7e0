"""Single-file models load with the owner's configuration or the shipped one, and never from the network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file

from imagegen.engine.engine import EngineResult
from imagegen.engine.models.loading import load_pipeline
from imagegen.engine.models.single_file import apply_training_flags, load_tokenizers
from imagegen.errors import ModelLoadFailed
from imagegen.library.checkpoint_detection import CONFIGS_DIR
from imagegen.library.family_facts import ALL_SAMPLERS
from imagegen.library.model_info import describe_model
from imagegen.library.prompt_tokens import CLIP_TOKENIZER_FOLDER
from imagegen.library.weight_files import has_weights, read_components
from tests.hub.single_file import single_file
from tests.hub.tiny import TINY
from tests.integration.engine_harness import EngineHarness
from tests.unit.model_files import write_checkpoint, write_json
from training.clip_vocabulary import build_vocabulary

PIPELINES = {"tiny-sd15": "StableDiffusionPipeline", "tiny-sdxl": "StableDiffusionXLPipeline"}
# The catalogue's id of a file, the folder with its configuration, and the markers in the file.
FILES = {
    "sd": ("tiny-sd15", ()),
    "xl": ("tiny-sdxl", ()),
    "sd-velocity": ("tiny-sd15", ("v_pred", "ztsnr")),
    "xl-velocity": ("tiny-sdxl", ("v_pred",)),
    "xl-from-noise": ("tiny-sdxl", ("v_pred", "ztsnr")),
    "xl-noise": ("tiny-sdxl", ("ztsnr",)),
}
PARAMETERS = {
    "sd-1": {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480},
    "sd-2": {"unet": 865_910_724, "vae": 83_653_863, "text_encoder": 340_387_840},
    "sd-xl": {
        "unet": 2_567_463_684,
        "vae": 83_653_863,
        "text_encoder": 123_060_480,
        "text_encoder_2": 694_659_840,
    },
}
CAT = [49406, 320, 1125, 539, 320, 2368, 49407]
END = 49407
# A tensor name by which each shipped configuration is recognized.
MARKS = {
    "sd-1": "cond_stage_model.transformer.text_model.embeddings.position_ids",
    "sd-2": "cond_stage_model.model.transformer.resblocks.0.ln_1.weight",
    "sd-xl": "conditioner.embedders.1.model.transformer.resblocks.0.ln_1.weight",
}


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


def load_harness_pipeline(harness: EngineHarness, name: str) -> Any:
    return load_pipeline(harness.model(name)[1], torch.float32)


@pytest.mark.parametrize("name", ["sd", "xl"])
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
        ("xl-noise", "epsilon", "leading", False),
    ],
)
def test_markers_in_the_file_decide_the_prediction_type(
    single_file_models: EngineHarness, name: str, prediction: str, spacing: str, from_noise: bool | None
) -> None:
    config = load_harness_pipeline(single_file_models, name).scheduler.config
    marker_values = (config.prediction_type, config.timestep_spacing, config.get("rescale_betas_zero_snr"))
    assert marker_values == (prediction, spacing, from_noise)


def test_a_model_of_velocity_by_its_configuration_needs_one_marker_only() -> None:
    scheduler = diffusers.DDIMScheduler.from_pretrained(CONFIGS_DIR / "sd-2", subfolder="scheduler")
    assert apply_training_flags(scheduler, ()) is scheduler
    config = apply_training_flags(scheduler, ("ztsnr",)).config
    assert (config.prediction_type, config.rescale_betas_zero_snr) == ("v_prediction", True)


@pytest.mark.parametrize("sampler", ALL_SAMPLERS)
def test_every_sampler_starts_from_pure_noise(single_file_models: EngineHarness, sampler: str) -> None:
    *_, last = single_file_models.run(single_file_models.make_inputs("xl-from-noise", sampler=sampler))
    assert isinstance(last, EngineResult)


@pytest.mark.parametrize(
    "part",
    [
        "model.diffusion_model.out.2",
        "first_stage_model.decoder.conv_in",
        "first_stage_model",
        "cond_stage_model.transformer.text_model.final_layer_norm",
        "cond_stage_model",
    ],
)
def test_a_file_that_lacks_weights_is_refused(single_file_models: EngineHarness, part: str, tmp_path: Path) -> None:
    file, source = tmp_path / "cut.safetensors", single_file_models.model("sd")[1]
    save_file({name: each for name, each in load_file(source.path).items() if not name.startswith(part)}, file)
    with pytest.raises(ModelLoadFailed, match="the file does not hold all"):
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
def test_a_file_in_the_folder_gets_clips_tokenizer(
    single_file_models: EngineHarness, folder: str, padding: dict[str, int] | None
) -> None:
    write_checkpoint(single_file_models.folder / f"{folder}.safetensors", MARKS[folder])
    config = single_file_models.model(f"{folder}.safetensors")[1].config
    assert config == CONFIGS_DIR / folder
    found = load_tokenizers(config)
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
