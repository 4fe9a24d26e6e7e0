"""Models by every reference, in every location; and references that are refused."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from imagegen.errors import InvalidRequest, NotOnDisk, UnknownModel, UnusableModel
from imagegen.library.library import Library
from imagegen.library.original_tensors import list_flux
from imagegen.library.snapshots import HubFiles
from tests.doubles import make_library
from tests.unit.model_files import (
    COMMIT,
    make_snapshot_folder,
    truncate_file,
    write_checkpoint,
    write_embedding,
    write_hollow,
    write_json,
    write_lora,
    write_names,
    write_transformer_model,
    write_unet_model,
)

ANOTHER = "another" + "0" * 33
# The sizes of a FLUX.1 with one head.
FLUX_CONFIG: dict[str, Any] = {
    "in_channels": 64,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 8,
    "num_attention_heads": 1,
    "joint_attention_dim": 8,
    "pooled_projection_dim": 8,
}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The owner's models folder."""
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The Hub cache that other programs share."""
    return tmp_path / "cache"


@pytest.fixture
def known(models: Path, tmp_path: Path) -> Library:
    return make_library(tmp_path)


def pinned(known: Library, model_id: str) -> HubFiles:
    return HubFiles.from_entry(known.models.entries[model_id])


def test_the_embedded_model_comes_first_and_is_there(known: Library) -> None:
    model = known.models.get(known.models.default_id)
    assert model.info.id == "embedded" and model.source is not None
    assert (model.info.width, model.info.can.max_side, model.info.steps) == (256, 512, 20)
    assert (model.info.guidance_scale, model.info.sampler) == (3.0, "DPM++ 2M")
    assert model.source.path.is_absolute() and model.source.revision is None


def test_a_model_that_was_never_downloaded_is_described_all_the_same(known: Library) -> None:
    model = known.models.get("flux.1-dev")
    assert model.source is None
    assert (model.info.id, model.info.family, model.info.gated) == ("flux.1-dev", "FLUX.1", True)
    assert model.info.download_gb and model.info.architecture is None


def test_the_repository_of_a_model_of_ours_is_that_model(known: Library) -> None:
    assert known.models.get("stable-diffusion-v1-5/stable-diffusion-v1-5").info.id == "sd-1.5"
    assert known.models.get("ByteDance/SDXL-Lightning/sdxl_lightning_4step.safetensors").info.id == "sdxl-lightning"


def test_the_pinned_version_is_used_from_any_cache_and_no_other(known: Library, cache: Path, models: Path) -> None:
    wanted = pinned(known, "sd-1.5")
    assert wanted.revision is not None
    write_unet_model(make_snapshot_folder(cache, wanted.repository, ANOTHER))
    assert known.models.get("sd-1.5").source is None
    for folder in (cache, models / "hub"):
        whole = write_unet_model(make_snapshot_folder(folder, wanted.repository, wanted.revision))
        model = known.models.get("sd-1.5")
        assert model.source is not None and model.source.path == whole
        assert model.info.revision == model.source.revision == wanted.revision
        assert model.info.architecture == "Stable Diffusion 1"


def test_a_version_that_is_not_whole_is_as_good_as_none(known: Library, cache: Path) -> None:
    wanted = pinned(known, "sd-1.5")
    folder = write_unet_model(make_snapshot_folder(cache, wanted.repository, wanted.revision or ""))
    truncate_file(folder / "unet" / "model.safetensors")
    assert known.models.get("sd-1.5").source is None


def test_any_whole_repository_in_a_cache_can_be_used_by_its_name(known: Library, cache: Path) -> None:
    folder = write_unet_model(
        make_snapshot_folder(cache, "someone/anything-xl", COMMIT), 2048, "StableDiffusionXLPipeline", sample=128
    )
    model = known.models.get("someone/anything-xl")
    assert model.source is not None and model.source.path == folder
    assert (model.info.id, model.info.repository, model.info.revision) == ("someone/anything-xl",) * 2 + (COMMIT,)
    assert (model.info.architecture, model.info.width) == ("Stable Diffusion XL", 1024)


def test_the_newest_whole_version_is_used(known: Library, cache: Path) -> None:
    older = write_unet_model(make_snapshot_folder(cache, "someone/thing", COMMIT))
    newer = write_unet_model(make_snapshot_folder(cache, "someone/thing", ANOTHER))
    truncate_file(newer / "vae" / "model.safetensors")
    source = known.models.get("someone/thing").source
    assert source is not None and source.path == older


def test_a_repository_that_is_not_on_disk_can_be_downloaded(known: Library) -> None:
    with pytest.raises(UnknownModel, match="there is no 'someone/thing' here. It can be embedded, embedded-fast"):
        known.models.get("someone/thing")
    assert known.models.get_hub_files("someone/thing") == HubFiles("someone/thing")
    assert known.models.get_hub_files("someone/thing/a b.safetensors") == HubFiles("someone/thing", "a b.safetensors")
    assert known.models.get_hub_files("embedded") is None


def test_a_catalogued_model_is_downloaded_at_its_pin_by_either_name(known: Library) -> None:
    wanted = known.models.get_hub_files("sd-1.5")
    assert wanted is not None and wanted.revision and wanted.variant == "fp16"
    assert known.models.get_hub_files("stable-diffusion-v1-5/stable-diffusion-v1-5") == wanted


def test_a_folder_is_found_by_its_name(known: Library, models: Path) -> None:
    folder = write_unet_model(models / "mine", sample=96)
    model = known.models.get("mine")
    assert model.source is not None and model.source.path == folder
    assert (model.info.id, model.info.name, model.info.width) == ("mine", "mine", 768)
    assert (model.info.sampler, model.info.steps, model.info.can.loras) == ("DPM++ 2M Karras", 25, True)
    assert known.models.get_hub_files("mine") is None


def test_a_nested_folder_is_found_by_its_path(known: Library, models: Path) -> None:
    write_unet_model(models / "people" / "mine")
    assert known.models.get("people/mine").info.id == "people/mine"


@pytest.mark.parametrize(
    ("guidance_embeds", "guidance", "scale"), [(True, "embedded", 3.5), (False, "none", 1.0), (None, "none", 1.0)]
)
def test_a_distilled_model_has_distilled_guidance(
    known: Library, models: Path, guidance_embeds: bool | None, guidance: str, scale: float
) -> None:
    write_transformer_model(models / "flux", guidance_embeds=guidance_embeds)
    info = known.models.get("flux").info
    assert (info.can.guidance, info.guidance_scale, info.can.negative_prompt) == (guidance, scale, False)


@pytest.mark.parametrize(
    ("is_distilled", "guidance", "scale", "steps"), [(True, "none", 1.0, 4), (False, "embedded", 4.0, 50)]
)
def test_a_klein_that_was_not_distilled_needs_guidance(
    known: Library, models: Path, is_distilled: bool, guidance: str, scale: float, steps: int
) -> None:
    folder = write_transformer_model(models / "klein", "Flux2KleinPipeline")
    index = json.loads((folder / "model_index.json").read_text())
    write_json(folder / "model_index.json", index | {"is_distilled": is_distilled})
    info = known.models.get("klein").info
    assert (info.can.guidance, info.guidance_scale, info.steps) == (guidance, scale, steps)
    assert not info.can.negative_prompt


@pytest.mark.parametrize(
    ("part", "spoil"),
    [
        ("unet", lambda folder: (folder / "unet").rename(folder / "denoiser")),
        ("vae/config.json", lambda folder: (folder / "vae" / "config.json").unlink()),
        ("unet/model.safetensors", lambda folder: truncate_file(folder / "unet" / "model.safetensors")),
        (
            "text_encoder/*.safetensors",
            lambda folder: (folder / "text_encoder" / "model.safetensors").rename(
                folder / "text_encoder" / "model.bin"
            ),
        ),
    ],
)
def test_a_folder_that_is_not_whole_is_refused_with_the_part_that_it_lacks(
    known: Library, models: Path, part: str, spoil: Callable[[Path], object]
) -> None:
    spoil(write_unet_model(models / "mine"))
    with pytest.raises(UnusableModel) as refused:
        known.models.get("mine")
    assert str(refused.value).startswith(f"model: mine cannot be used: {part} is missing or incomplete")


def test_a_folder_with_another_pipeline_is_refused_with_the_reason(known: Library, models: Path) -> None:
    write_unet_model(models / "mine", pipeline="MagicPipeline")
    with pytest.raises(UnusableModel, match=r"its pipeline is MagicPipeline, but the installed diffusers has no such"):
        known.models.get("mine")


def test_a_folder_with_a_part_of_another_library_is_refused_by_name(known: Library, models: Path) -> None:
    index = write_unet_model(models / "mine") / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"vae": ["kolors", "ChatGLMModel"]}))
    with pytest.raises(UnusableModel, match=r"its part vae is kolors\.ChatGLMModel, which would run code of its own"):
        known.models.get("mine")


@pytest.mark.parametrize("index", ["", "nonsense", "[]", "{}", '{"_class_name": ["a", "list"]}', "null"])
def test_a_folder_with_a_broken_index_is_refused_and_harms_no_other(known: Library, models: Path, index: str) -> None:
    write_unet_model(models / "good")
    (write_unet_model(models / "broken") / "model_index.json").write_text(index)
    with pytest.raises((UnusableModel, UnknownModel)):
        known.models.get("broken")
    listed = [model.info.id for model in known.models.list_available()]
    assert "good" in listed and "broken" not in listed


@pytest.mark.parametrize("part", ["unet", "vae"])
@pytest.mark.parametrize("config", ["", "[]", "{}", '{"cross_attention_dim": "wide", "block_out_channels": 5}'])
def test_a_folder_with_a_broken_part_harms_no_other(known: Library, models: Path, part: str, config: str) -> None:
    write_unet_model(models / "good")
    (write_unet_model(models / "broken") / part / "config.json").write_text(config)
    with suppress(UnusableModel, UnknownModel):
        known.models.get("broken")
    assert "good" in [model.info.id for model in known.models.list_available()]


@pytest.mark.parametrize(
    "reference",
    [
        "",
        " ",
        ".",
        "..",
        "../outside",
        "inside/../../outside",
        "inside/..",
        "inside/../inside",
        ".hidden",
        ".hidden/model",
        "inside/.hidden",
        "loras",
        "loras/model",
        "embeddings/model",
        "loras/style.safetensors",
        "/",
        "//",
        "~",
        "~/outside",
        "\0",
        "a\0b",
        "nonsense",
        "no/such",
        "no/such/file.safetensors",
        "http://example.org/model",
        "a//b",
        "\udcff",
        "x" * 300,
        "x" * 100_000,
        "x/" * 2000,
        "a/" + "b" * 298,
        "a/b/" + "c" * 300 + ".safetensors",
        "${HOME}",
        "*",
        "inside\\model",
    ],
)
def test_a_name_that_means_nothing_reaches_nothing(
    known: Library, models: Path, tmp_path: Path, reference: str
) -> None:
    for place in (tmp_path / "outside", models / "inside", models / ".hidden" / "model", models / "inside" / ".hidden"):
        write_unet_model(place)
    write_unet_model(models / "loras" / "model")
    write_unet_model(models / "embeddings" / "model")
    write_checkpoint(models / "loras" / "style.safetensors")
    with pytest.raises(UnknownModel) as refused:
        known.models.get(reference)
    text = str(refused.value)
    assert text.startswith("model: there is no ") and "embedded" in text
    assert "\n" not in text and len(text) < 1500


@pytest.mark.parametrize("file", [f"{'../' * 4}outside", f"{'../' * 3}outside", f"one/{'../' * 4}outside", "x" * 270])
def test_a_name_in_a_repository_reaches_nothing_outside_of_it(
    known: Library, cache: Path, tmp_path: Path, file: str
) -> None:
    write_checkpoint(make_snapshot_folder(cache, "someone/mix") / "one" / "mix.safetensors")
    for folder in (tmp_path, cache):
        write_checkpoint(folder / "outside.safetensors")
    with pytest.raises(UnknownModel):
        known.models.get(f"someone/mix/{file}.safetensors")


def test_a_whole_path_reaches_nothing_either(known: Library, models: Path, tmp_path: Path) -> None:
    for folder in (tmp_path / "outside", models / "mine"):
        with pytest.raises(UnknownModel):
            known.models.get(str(write_unet_model(folder)))


def test_lists_hold_what_can_be_used(known: Library, models: Path, cache: Path) -> None:
    write_unet_model(models / "mine")
    write_names(models / "broken.safetensors", "nothing.known")
    truncate_file(write_unet_model(models / "cut") / "unet" / "model.safetensors")
    write_unet_model(models / "loras" / "model")
    write_lora(models / "loras" / "style.safetensors")
    write_transformer_model(make_snapshot_folder(cache, "someone/flux"), guidance_embeds=True)
    write_lora(make_snapshot_folder(cache, "someone/style") / "style.safetensors")
    write_json(make_snapshot_folder(cache, "someone/data") / "config.json", {})
    listed = [model.info.id for model in known.models.list_available()]
    assert listed == [*known.models.entries, "mine", "someone/flux"]


@pytest.mark.parametrize(
    ("config", "architecture"),
    [("sd-1", "Stable Diffusion 1"), ("sd-2", "Stable Diffusion 2"), ("sd-xl", "Stable Diffusion XL")],
)
def test_a_single_file_in_the_folder_is_found_by_its_name(
    known: Library, models: Path, config: str, architecture: str
) -> None:
    file = write_checkpoint(models / "mine.safetensors", config)
    model = known.models.get("mine.safetensors")
    assert model.source is not None and model.source.path == file
    assert (model.info.id, model.info.name, model.info.architecture) == ("mine.safetensors", "mine", architecture)
    assert "mine.safetensors" in [model.info.id for model in known.models.list_available()]


def test_a_single_file_in_a_cache_is_found_by_its_repository_and_name(known: Library, cache: Path) -> None:
    file = write_checkpoint(make_snapshot_folder(cache, "someone/mix") / "v2" / "mix.safetensors")
    model = known.models.get("someone/mix/v2/mix.safetensors")
    assert model.source is not None and model.source.path == file
    assert "someone/mix/v2/mix.safetensors" in [model.info.id for model in known.models.list_available()]


def test_a_denoiser_alone_takes_its_other_parts_from_a_whole_model(known: Library, models: Path, cache: Path) -> None:
    config = write_json(models / "notes" / "transformer" / "config.json", FLUX_CONFIG | {"guidance_embeds": True})
    write_hollow(models / "flux.safetensors", list_flux(config.parents[1], in_channels=64))
    with pytest.raises(UnusableModel, match="it is a denoiser alone; load a complete model of its architecture first"):
        known.models.get("flux.safetensors")
    write_transformer_model(models / "schnell", **FLUX_CONFIG, guidance_embeds=False)
    with pytest.raises(UnusableModel, match="it is a denoiser alone"):
        known.models.get("flux.safetensors")
    wanted = pinned(known, "flux.1-dev")
    whole = write_transformer_model(
        make_snapshot_folder(cache, wanted.repository, wanted.revision or ""), **FLUX_CONFIG, guidance_embeds=True
    )
    model = known.models.get("flux.safetensors")
    assert model.source is not None and model.source.config == whole
    assert (model.info.architecture, model.info.can.guidance) == ("FLUX.1", "embedded")


@pytest.mark.parametrize("content", ["cut", "lora", "unknown", "empty"])
def test_a_single_file_that_cannot_be_used_is_refused_with_the_reason(
    known: Library, models: Path, content: str
) -> None:
    file = models / "mine.safetensors"
    match content:
        case "cut":
            truncate_file(write_lora(file))
        case "lora":
            write_lora(file)
        case "unknown":
            write_names(file, "nothing.known")
        case "empty":
            file.write_bytes(b"")
    reasons = {
        "lora": "it is a LoRA, which belongs in the folder loras",
        "unknown": "it is not a checkpoint of Stable Diffusion 1, 2, XL or FLUX.1",
    }
    reason = reasons.get(content, "it is not a complete safetensors file")
    with pytest.raises(UnusableModel, match=f"mine.safetensors cannot be used: {reason}"):
        known.models.get("mine.safetensors")


def test_pickles_are_never_looked_at(known: Library, models: Path) -> None:
    for name in ("mine.ckpt", "mine.pt", "mine.bin"):
        (models / name).write_bytes(b"PK\x03\x04")
        with pytest.raises(UnknownModel):
            known.models.get(name)


def test_an_entry_of_the_owners_may_point_to_a_folder_beside_it(models: Path, tmp_path: Path) -> None:
    write_unet_model(models / "deep" / "model")
    mine: dict[str, Any] = {"id": "mine", "name": "Mine", "path": "deep/model", "pipeline": "StableDiffusionPipeline"}
    (models / "catalogue.json").write_text(json.dumps([mine | {"steps": 7, "max_side": 640}]))
    model = make_library(tmp_path).models.get("mine")
    assert model.source is not None
    assert (model.info.steps, model.info.can.max_side, model.info.name) == (7, 640, "Mine")


def test_an_entry_of_the_owners_that_points_nowhere_is_not_on_disk(models: Path, tmp_path: Path) -> None:
    mine = {"id": "mine", "name": "Mine", "path": "nowhere", "pipeline": "StableDiffusionPipeline"}
    (models / "catalogue.json").write_text(json.dumps([mine]))
    known = make_library(tmp_path)
    assert known.models.get("mine").source is None
    assert known.models.get_hub_files("mine") is None
    with pytest.raises(NotOnDisk, match="mine is not on disk"):
        known.model_resource.prepare_download("mine")


def test_a_quantized_entry_takes_no_loras(models: Path, tmp_path: Path) -> None:
    mine = {"id": "mine", "name": "Mine", "repository": "a/b", "pipeline": "FluxPipeline", "quantization": "nf4"}
    (models / "catalogue.json").write_text(json.dumps([mine]))
    info = make_library(tmp_path).models.get("mine").info
    assert info.quantization == "nf4" and not info.can.loras


def test_what_the_studio_downloaded_can_be_deleted(known: Library, models: Path) -> None:
    folder = write_unet_model(make_snapshot_folder(models / "hub", "someone/thing"))
    keep = write_unet_model(make_snapshot_folder(models / "hub", "someone/other"))
    known.model_resource.delete("someone/thing")
    assert not folder.exists() and keep.exists()
    with pytest.raises(UnknownModel):
        known.models.get("someone/thing")


def test_what_others_put_there_is_theirs_to_delete(known: Library, models: Path, cache: Path) -> None:
    write_unet_model(models / "mine")
    write_unet_model(make_snapshot_folder(cache, "someone/thing"))
    for name in ("mine", "someone/thing", "embedded"):
        with pytest.raises(InvalidRequest, match=f"model: {name} was not downloaded by the studio"):
            known.model_resource.delete(name)
        assert known.models.get(name).source is not None


def test_of_several_files_of_a_repository_one_can_be_deleted(known: Library, models: Path) -> None:
    folder = make_snapshot_folder(models / "hub", "someone/styles")
    one, two = (write_lora(folder / f"{name}.safetensors") for name in ("one", "two"))
    known.get_resource("lora").delete("someone/styles/one.safetensors")
    assert not one.exists() and two.exists()
    known.get_resource("lora").delete("someone/styles")
    assert not folder.exists()


def test_adapters_that_were_downloaded_can_be_deleted_and_others_cannot(known: Library, models: Path) -> None:
    file = write_lora(make_snapshot_folder(models / "hub", "someone/style") / "style.safetensors")
    write_embedding(models / "embeddings" / "cat.safetensors")
    known.get_resource("lora").delete("someone/style")
    assert not file.exists()
    with pytest.raises(InvalidRequest, match="cat was not downloaded by the studio"):
        known.get_resource("embedding").delete("cat")
