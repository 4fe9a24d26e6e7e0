"""Models in one file: with the configuration of their owner or with ours, and never with anything from the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from imagegen.engine.checkpoints import TOKENIZER, as_marked, tokenizers
from imagegen.engine.engine import Finished
from imagegen.engine.loading import load_pipeline
from imagegen.errors import ModelBroken
from imagegen.library.checkpoints import CONFIGS
from imagegen.library.families import EVERY_SAMPLER
from imagegen.library.weights import components, is_network
from tests.hub.single_file import single_file
from tests.hub.tiny import TINY
from tests.integration.tiny import Bench
from tests.unit.folders import checkpoint, written
from training.clip_vocabulary import vocabulary

PIPELINES = {"tiny-sd15": "StableDiffusionPipeline", "tiny-sdxl": "StableDiffusionXLPipeline"}
# What the owner's catalogue calls a file, the folder with its configuration, and the markers in the file.
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
# The file that is of each of our configurations, by the name of one of its tensors.
MARKS = {
    "sd-1": "cond_stage_model.transformer.text_model.embeddings.position_ids",
    "sd-2": "cond_stage_model.model.transformer.resblocks.0.ln_1.weight",
    "sd-xl": "conditioner.embedders.1.model.transformer.resblocks.0.ln_1.weight",
}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Tiny models, as folders and as the owner's files."""
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
    written(folder / "catalogue.json", entries)
    return Bench(folder)


def loaded(shelf: Bench, name: str) -> Any:
    return load_pipeline(shelf.model(name)[1], torch.float32)


@pytest.mark.parametrize("name", ["sd", "xl"])
def test_a_file_paints_what_the_folder_it_was_made_from_does(shelf: Bench, name: str) -> None:
    assert shelf.picture(name).tobytes() == shelf.picture(FILES[name][0]).tobytes()


def test_loading_says_nothing(shelf: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    loaded(shelf, "xl")
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
def test_markers_in_the_file_say_how_it_was_trained(
    shelf: Bench, name: str, prediction: str, spacing: str, from_noise: bool | None
) -> None:
    config = loaded(shelf, name).scheduler.config
    told = (config.prediction_type, config.timestep_spacing, config.get("rescale_betas_zero_snr"))
    assert told == (prediction, spacing, from_noise)


def test_a_model_of_velocity_by_its_configuration_needs_one_marker_only() -> None:
    scheduler = diffusers.DDIMScheduler.from_pretrained(CONFIGS / "sd-2", subfolder="scheduler")
    assert as_marked(scheduler, ()) is scheduler
    config = as_marked(scheduler, ("ztsnr",)).config
    assert (config.prediction_type, config.rescale_betas_zero_snr) == ("v_prediction", True)


@pytest.mark.parametrize("sampler", EVERY_SAMPLER)
def test_every_sampler_starts_from_pure_noise(shelf: Bench, sampler: str) -> None:
    *_, last = shelf.events(shelf.work("xl-from-noise", sampler=sampler))
    assert isinstance(last, Finished)


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
def test_a_file_that_lacks_weights_is_refused(shelf: Bench, part: str, tmp_path: Path) -> None:
    file, source = tmp_path / "cut.safetensors", shelf.model("sd")[1]
    save_file({name: each for name, each in load_file(source.path).items() if not name.startswith(part)}, file)
    with pytest.raises(ModelBroken, match="the file does not hold all"):
        load_pipeline(source.model_copy(update={"path": file}), torch.float32)


@pytest.mark.parametrize("folder", PARAMETERS)
def test_our_configurations_are_of_the_published_architectures(folder: str) -> None:
    parts = {part: kind for part, kind in components(CONFIGS / folder).items() if is_network(kind[1])}
    assert {part: parameters(CONFIGS / folder / part, *kind) for part, kind in parts.items()} == PARAMETERS[folder]


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
def test_a_file_in_the_folder_gets_clips_tokenizer(shelf: Bench, folder: str, padding: dict[str, int] | None) -> None:
    checkpoint(shelf.folder / f"{folder}.safetensors", MARKS[folder])
    config = shelf.model(f"{folder}.safetensors")[1].config
    assert config == CONFIGS / folder
    found = tokenizers(config)
    assert {part: each.pad_token_id for part, each in found.items()} == (
        padding or {"tokenizer": END, "tokenizer_2": 0}
    )
    for each in found.values():
        assert each("a photo of a cat").input_ids == CAT
        assert each("cat!", add_special_tokens=False).input_ids == [2368, 256]
        filled = each("a photo of a cat", padding="max_length").input_ids
        assert filled == CAT + [each.pad_token_id] * (77 - len(CAT))


def test_an_owners_tokenizer_comes_before_ours(shelf: Bench) -> None:
    assert len(loaded(shelf, "sd").tokenizer) < 49_408


def test_the_vocabulary_is_what_its_merges_make() -> None:
    _, *pairs = (TOKENIZER / "merges.txt").read_text(encoding="utf-8").splitlines()
    tokens, merges = vocabulary(pairs)
    assert merges == pairs
    assert json.loads((TOKENIZER / "vocab.json").read_bytes()) == {token: place for place, token in enumerate(tokens)}
