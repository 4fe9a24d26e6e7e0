"""LoRAs and textual inversions: all references to them, and what is read from their files."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

import pytest

from imagegen.errors import NotOnDisk, UnknownModel, UnusableModel
from imagegen.library.adapters import AdapterIndex
from imagegen.library.library import Library
from imagegen.library.snapshots import HubFiles
from imagegen.schema.models import AdapterKind
from tests.doubles import make_library
from tests.unit.model_files import (
    ATTENTION,
    COMMIT,
    make_snapshot_folder,
    truncate_file,
    write_embedding,
    write_lora,
    write_tensors,
    write_unet_model,
)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def known(models: Path, tmp_path: Path) -> Library:
    return make_library(tmp_path)


@pytest.fixture
def loras(known: Library) -> AdapterIndex:
    return known.adapters["lora"]


@pytest.fixture
def embeddings(known: Library) -> AdapterIndex:
    return known.adapters["embedding"]


@pytest.mark.parametrize("reference", ["neon-sign", "neon-sign.safetensors"])
def test_a_file_is_found_with_and_without_its_suffix(loras: AdapterIndex, models: Path, reference: str) -> None:
    file = write_lora(models / "loras" / "neon-sign.safetensors")
    adapter = loras.get(reference)
    assert (adapter.info.id, adapter.path) == ("neon-sign", file)
    assert (adapter.info.kind, adapter.info.architecture) == ("lora", "Stable Diffusion of width 128")
    assert adapter.info.size == file.stat().st_size


@pytest.mark.parametrize("reference", ["style/neon-sign", "style/neon-sign.safetensors"])
def test_a_file_in_a_folder_has_one_id_for_all_references(loras: AdapterIndex, models: Path, reference: str) -> None:
    """Otherwise the same LoRA could be applied twice."""
    write_lora(models / "loras" / "style" / "neon-sign.safetensors")
    assert loras.get(reference).info.id == "style/neon-sign"


def test_an_adapter_source_includes_the_checksum_of_its_file(loras: AdapterIndex, models: Path) -> None:
    file = write_lora(models / "loras" / "mine.safetensors")
    source = loras.get_source("mine", 0.5)
    assert (source.kind, source.id, source.weight) == ("lora", "mine", 0.5)
    assert source.path == file and source.path.is_absolute()
    assert source.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_file_that_changed_has_another_checksum(loras: AdapterIndex, models: Path) -> None:
    file = write_lora(models / "loras" / "mine.safetensors")
    before = loras.get_source("mine").sha256
    write_lora(file, width=768)
    assert loras.get_source("mine").sha256 == hashlib.sha256(file.read_bytes()).hexdigest() != before


def test_a_repository_with_one_file_is_found_by_its_name(loras: AdapterIndex, cache: Path) -> None:
    file = write_lora(make_snapshot_folder(cache, "someone/style") / "pytorch_lora_weights.safetensors", 768)
    assert loras.get("someone/style").path == file
    assert loras.get("someone/style/pytorch_lora_weights.safetensors").path == file
    assert loras.get("someone/style").info.architecture == "Stable Diffusion 1"
    assert "someone/style" in [adapter.info.id for adapter in loras.list_available()]


def test_of_several_files_one_must_be_named(loras: AdapterIndex, cache: Path) -> None:
    folder = make_snapshot_folder(cache, "someone/styles")
    one, _ = (write_lora(folder / f"{name}.safetensors") for name in ("one", "two"))
    with pytest.raises(UnusableModel, match="several files; name one of them: someone/styles/one.safetensors, "):
        loras.get("someone/styles")
    assert loras.get("someone/styles/one.safetensors").path == one
    listed = {adapter.info.id for adapter in loras.list_available()}
    assert {"someone/styles/one.safetensors", "someone/styles/two.safetensors"} <= listed


def test_a_repository_that_is_not_here_is_not_on_disk(loras: AdapterIndex, cache: Path) -> None:
    write_lora(make_snapshot_folder(cache, "someone/styles") / "one.safetensors")
    for reference in ("someone/else", "someone/else/one.safetensors", "someone/styles/two.safetensors"):
        with pytest.raises(NotOnDisk, match="is not on disk yet; load it first"):
            loras.get(reference)
    assert loras.get_hub_files("someone/else") == HubFiles("someone/else")
    assert loras.get_hub_files("someone/else/a/b.safetensors") == HubFiles("someone/else", "a/b.safetensors")


@pytest.mark.parametrize(
    "reference",
    [
        "",
        " ",
        ".",
        "..",
        "../outside",
        "../outside.safetensors",
        "sub/../../outside",
        "sub/../inside",
        ".hidden",
        "sub/.hidden",
        "/",
        "/etc/passwd",
        "~/outside",
        "\0",
        "\udcff",
        "nonsense",
        "x" * 300,
        "x" * 100_000,
        "x/" * 2000,
        "a/" + "b" * 298,
        "a/b/" + "c" * 300 + ".safetensors",
        "*",
        "outside.ckpt",
    ],
)
@pytest.mark.parametrize("kind", ["lora", "embedding"])
def test_a_name_that_means_nothing_reaches_nothing(
    known: Library, models: Path, kind: AdapterKind, reference: str
) -> None:
    folder = models / f"{kind}s"
    for name in ("../outside", "inside", "sub/inside", ".hidden", "sub/.hidden"):
        (write_lora if kind == "lora" else write_embedding)(folder / f"{name}.safetensors")
    (folder / "outside.ckpt").write_bytes(b"PK\x03\x04")
    with pytest.raises((UnknownModel, NotOnDisk, UnusableModel)) as refused:
        known.adapters[kind].get(reference)
    text = str(refused.value)
    assert text.startswith(kind) and "\n" not in text and len(text) < 500


@pytest.mark.parametrize("file", [f"{'../' * 4}outside", f"{'../' * 3}outside", f"one/{'../' * 4}outside", "x" * 270])
def test_a_name_in_a_repository_reaches_nothing_outside_of_it(
    loras: AdapterIndex, cache: Path, tmp_path: Path, file: str
) -> None:
    write_lora(make_snapshot_folder(cache, "someone/style") / "one" / "style.safetensors")
    for folder in (tmp_path, cache):
        write_lora(folder / "outside.safetensors")
    with pytest.raises((UnknownModel, NotOnDisk)):
        loras.get(f"someone/style/{file}.safetensors")


def test_a_whole_path_reaches_nothing_either(loras: AdapterIndex, models: Path, tmp_path: Path) -> None:
    for file in (models / "loras" / "mine.safetensors", tmp_path / "outside.safetensors"):
        with pytest.raises(UnknownModel):
            loras.get(str(write_lora(file)))


def test_the_error_for_an_unknown_name_lists_the_available_ones(loras: AdapterIndex, models: Path) -> None:
    write_lora(models / "loras" / "mine.safetensors")
    with pytest.raises(UnknownModel, match=r"there is no 'yours' here. It can be .*mine"):
        loras.get("yours")


@pytest.mark.parametrize("kind", ["lora", "embedding"])
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(known: Library, models: Path, kind: AdapterKind) -> None:
    adapters, folder = known.adapters[kind], models / f"{kind}s"
    write_tensors(folder / "other.safetensors", {"weight": (4, 4), "bias": (4,), "more": (1, 1, 1)})
    with pytest.raises(UnusableModel, match=f"other cannot be used: it contains no {kind}"):
        adapters.get("other")
    truncate_file((write_lora if kind == "lora" else write_embedding)(folder / "cut.safetensors"))
    with pytest.raises(UnusableModel, match="cut cannot be used: it is not a complete safetensors file"):
        adapters.get("cut")
    assert {"other", "cut"}.isdisjoint(adapter.info.id for adapter in adapters.list_available())


def test_a_lora_is_no_embedding_and_the_other_way_round(
    loras: AdapterIndex, embeddings: AdapterIndex, models: Path
) -> None:
    write_lora(models / "embeddings" / "style.safetensors")
    write_embedding(models / "loras" / "cat.safetensors")
    with pytest.raises(UnusableModel, match="it contains no embedding"):
        embeddings.get("style")
    with pytest.raises(UnusableModel, match="it contains no lora"):
        loras.get("cat")


@pytest.mark.parametrize(
    ("name", "kind"), [("oft_blocks", "OFT"), ("oft_diag", "OFT"), ("a1.weight", "GLoRA"), ("on_input", "IA3")]
)
def test_a_relative_of_lora_is_refused_by_its_name(loras: AdapterIndex, models: Path, name: str, kind: str) -> None:
    write_tensors(models / "loras" / "mine.safetensors", {f"unet.{ATTENTION}.{name}": (4, 4)})
    with pytest.raises(UnusableModel, match=f"mine cannot be used: it is of the kind {kind}, which is not supported"):
        loras.get("mine")


def test_only_what_the_studio_downloaded_can_be_deleted(loras: AdapterIndex, models: Path, cache: Path) -> None:
    write_lora(models / "loras" / "mine.safetensors")
    write_lora(make_snapshot_folder(cache, "someone/theirs") / "theirs.safetensors")
    write_lora(make_snapshot_folder(models / "hub", "someone/ours") / "ours.safetensors")
    deletable = {adapter.info.id: adapter.info.deletable for adapter in loras.list_available()}
    assert (deletable["mine"], deletable["someone/theirs"], deletable["someone/ours"]) == (False, False, True)


@pytest.mark.parametrize("metadata", ['{"modelspec.title": 5}', '["title"]', '"title"', '{"ss_tag_frequency": {}}'])
def test_a_strange_file_harms_no_other(loras: AdapterIndex, models: Path, metadata: str) -> None:
    write_lora(models / "loras" / "good.safetensors")
    name = f"unet.{ATTENTION}.lora_A.weight"
    header = f'{{"__metadata__": {metadata}, "{name}": {{"dtype": "F16", "shape": [1, 1], "data_offsets": [0, 2]}}}}'
    content = len(header).to_bytes(8, "little") + header.encode() + b"\0\0"
    (models / "loras" / "strange.safetensors").write_bytes(content)
    with suppress(UnusableModel):
        assert loras.get("strange").info.id == "strange"
    assert "good" in [adapter.info.id for adapter in loras.list_available()]


def test_a_file_of_strange_shapes_harms_no_other(loras: AdapterIndex, models: Path) -> None:
    write_lora(models / "loras" / "good.safetensors")
    write_tensors(models / "loras" / "strange.safetensors", {f"unet.{ATTENTION}.lora_A.weight": (4,)})
    with suppress(UnusableModel):
        assert loras.get("strange").info.id == "strange"
    assert "good" in [adapter.info.id for adapter in loras.list_available()]


def test_models_are_no_adapters(loras: AdapterIndex, embeddings: AdapterIndex, cache: Path) -> None:
    write_unet_model(make_snapshot_folder(cache, "someone/model"))
    assert not any(
        adapter.info.id.startswith("someone") for adapter in [*loras.list_available(), *embeddings.list_available()]
    )


def test_author_metadata_is_reported(loras: AdapterIndex, models: Path) -> None:
    metadata = {
        "modelspec.title": "Neon",
        "modelspec.description": "Signs at night.",
        "modelspec.license": "CC0",
        "modelspec.trigger_phrase": "neon sign",
        "ss_base_model_version": "sd_v1",
        "ss_tag_frequency": json.dumps({"folder": {"other": 9}}),
    }
    write_lora(models / "loras" / "mine.safetensors", metadata=metadata)
    info = loras.get("mine").info
    assert (info.name, info.description, info.licence) == ("Neon", "Signs at night.", "CC0")
    assert (info.trigger, info.base_model) == (("neon sign",), "sd_v1")


@pytest.mark.parametrize(
    ("frequency", "trigger"),
    [
        ({"a": {"neon": 5, "night": 2}, "b": {"night ": 9}}, ("night", "neon")),
        ({"a": {word: 9 - place for place, word in enumerate("abcdefg")}}, ("a", "b", "c", "d", "e")),
        ({}, ()),
        ([], ()),
        ({"a": 5}, ()),
        ({"a": {"neon": "often"}}, ()),
        (5, ()),
    ],
)
def test_trigger_words_are_those_of_most_captions(
    loras: AdapterIndex, models: Path, frequency: object, trigger: tuple[str, ...]
) -> None:
    write_lora(models / "loras" / "mine.safetensors", metadata={"ss_tag_frequency": json.dumps(frequency)})
    assert loras.get("mine").info.trigger == trigger


@pytest.mark.parametrize(
    ("written", "settings"),
    [
        ('{"steps": 4, "guidance_scale": 1, "sampler": "LCM"}', {"steps": 4, "guidance_scale": 1.0, "sampler": "LCM"}),
        ('{"steps": 8}', {"steps": 8}),
        ('{"steps": 100000}', None),
        ('{"sampler": "Mine"}', None),
        ("[4]", None),
        ("steps", None),
    ],
)
def test_the_settings_that_a_lora_was_made_for_are_read(
    loras: AdapterIndex, models: Path, written: str, settings: dict[str, object] | None
) -> None:
    write_lora(models / "loras" / "mine.safetensors", metadata={"studio.settings": written})
    found = loras.get("mine").info.settings
    assert (found and found.model_dump(exclude_none=True)) == settings


def test_a_file_without_metadata_has_its_name_and_no_trigger(loras: AdapterIndex, models: Path) -> None:
    write_lora(models / "loras" / "style" / "neon sign.safetensors")
    info = loras.get("style/neon sign").info
    assert (info.name, info.trigger, info.description, info.base_model) == ("neon sign", (), None, None)


def test_an_embedding_is_called_up_by_its_name(embeddings: AdapterIndex, models: Path, cache: Path) -> None:
    write_embedding(models / "embeddings" / "cat.safetensors")
    write_embedding(make_snapshot_folder(cache, "someone/dog") / "learned_embeds.safetensors", 768)
    assert embeddings.get("cat").info.trigger == ("cat",)
    assert embeddings.get("cat").info.architecture == "Stable Diffusion of width 128"
    assert embeddings.get("someone/dog").info.trigger == ("dog",)
    assert {"cat", "someone/dog"} <= {adapter.info.id for adapter in embeddings.list_available()}


@pytest.mark.parametrize(
    ("name", "words"),
    [("<cat-toy>", ("mine", "cat-toy")), ("cat-toy", ("mine", "cat-toy")), ("*", ("mine",)), ("mine", ("mine",))],
)
def test_an_embedding_is_called_up_by_the_name_inside_too(
    embeddings: AdapterIndex, models: Path, name: str, words: tuple[str, ...]
) -> None:
    write_tensors(models / "embeddings" / "mine.safetensors", {name: (768,)})
    assert embeddings.get("mine").info.trigger == words
    assert embeddings.get_source("mine").trigger == words


def test_an_embedding_that_fits_into_no_part_of_a_prompt_is_refused(embeddings: AdapterIndex, models: Path) -> None:
    write_tensors(models / "embeddings" / "book.safetensors", {"emb_params": (76, 768)})
    with pytest.raises(UnusableModel, match="it has 76 vectors, and a part of a prompt has room for 75"):
        embeddings.get("book")


def test_the_newest_version_of_a_repository_is_used(loras: AdapterIndex, cache: Path) -> None:
    write_lora(make_snapshot_folder(cache, "someone/style", "older") / "style.safetensors", 768)
    newer = write_lora(make_snapshot_folder(cache, "someone/style", COMMIT) / "style.safetensors", 1024)
    assert loras.get("someone/style").path == newer
