"""The shipped catalogue and the owner's."""

import json
from pathlib import Path
from typing import Any

import pytest

from imagegen.errors import InvalidCatalogue
from imagegen.library.catalogue import CATALOGUE_FILE, CatalogueEntry, load_catalogue
from imagegen.library.families import get_family
from imagegen.library.family_facts import FAMILIES
from imagegen.settings import ASSETS_DIR

MINE = {"id": "mine", "name": "Mine", "repository": "me/mine", "pipeline": "StableDiffusionPipeline"}


def theirs(folder: Path, *entries: Any) -> Path:
    (folder / CATALOGUE_FILE).write_text(json.dumps(entries), encoding="utf-8")
    return folder


def test_the_first_of_ours_needs_no_download(tmp_path: Path) -> None:
    first = next(iter(load_catalogue(ASSETS_DIR, tmp_path).values()))
    assert first.id == "embedded" and first.repository is None
    assert first.path is not None and first.path.is_dir()


def test_the_second_of_ours_is_the_first_in_few_steps(tmp_path: Path) -> None:
    first, second, *_ = load_catalogue(ASSETS_DIR, tmp_path).values()
    assert second.path == first.path and second.steps is not None and first.steps is not None
    assert second.steps < first.steps and [use.lora for use in second.loras] == ["fast"]


# Models whose repositories are used as they are now. The size of the download is known of some of them.
NOT_PINNED = (
    "flux.1-kontext-dev", "qwen-image-edit", "qwen-image-edit-2509", "qwen-image-edit-2511", "sdxl-inpainting",
    "illustrious-xl-0.1", "noobai-xl-vpred-1.0", "pony-diffusion-v6-xl", "flux.1-fill-dev",
    "flux.2-klein-base-4b", "flux.2-klein-9b", "flux.2-klein-base-9b", "z-image", "qwen-image-2512",
)  # fmt: skip


def is_derived(entry: CatalogueEntry) -> bool:
    """Whether its family is derived from its pipeline class. Such models are not pinned, and have no exact size."""
    return entry.pipeline not in FAMILIES


def test_all_other_shipped_entries_have_a_commit_and_a_size(tmp_path: Path) -> None:
    others = [entry for entry in load_catalogue(ASSETS_DIR, tmp_path).values() if not entry.id.startswith("embedded")]
    assert {entry.pipeline for entry in others if not is_derived(entry)} == set(FAMILIES)
    for entry in others:
        assert entry.repository and entry.memory_gb and entry.licence
        is_pinned = entry.id not in NOT_PINNED and not is_derived(entry)
        assert len(entry.revision or "") == 40 if is_pinned else entry.revision is None
        assert entry.download_gb or not is_pinned


def test_what_ours_do_by_themselves_is_what_they_can_do(tmp_path: Path) -> None:
    for entry in load_catalogue(ASSETS_DIR, tmp_path).values():
        family = get_family(entry.pipeline)
        assert entry.sampler in family.samplers
        assert entry.width and entry.height and entry.max_side and entry.steps and entry.guidance_scale
        assert max(entry.width, entry.height) <= entry.max_side
        assert not entry.width % family.multiple and not entry.height % family.multiple


def test_the_owners_file_adds_to_ours(tmp_path: Path) -> None:
    found = load_catalogue(ASSETS_DIR, theirs(tmp_path, MINE))
    assert list(found) == [*load_catalogue(ASSETS_DIR, tmp_path / "nowhere"), "mine"]
    assert found["mine"].repository == "me/mine"


def test_the_owners_entry_replaces_ours_of_the_same_id_in_its_place(tmp_path: Path) -> None:
    found = load_catalogue(ASSETS_DIR, theirs(tmp_path, MINE | {"id": "embedded"}))
    assert list(found) == list(load_catalogue(ASSETS_DIR, tmp_path / "nowhere"))
    assert found["embedded"].name == "Mine" and found["embedded"].path is None


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    here = {key: value for key, value in MINE.items() if key != "repository"} | {"path": "a/b", "config": "c"}
    found = load_catalogue(ASSETS_DIR, theirs(tmp_path, here))["mine"]
    assert (found.path, found.config) == (tmp_path / "a" / "b", tmp_path / "c")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "JSON"),
        ("nonsense", "JSON"),
        ("{}", "list"),
        ('["mine"]', "object"),
        (json.dumps([{**MINE, "colour": "red"}]), "colour"),
        (json.dumps([{**MINE, "repository": None}]), "needs either a repository or a path"),
        (json.dumps([{**MINE, "path": "here"}]), "needs either a repository or a path"),
        (json.dumps([{**MINE, "repository": "https://example.org/me/mine"}]), "repository"),
        (
            json.dumps([{**MINE, "pipeline": "MagicPipeline"}]),
            "pipeline cannot be MagicPipeline: the installed diffusers has no such class",
        ),
        (json.dumps([{**MINE, "sampler": "Magic"}]), "sampler"),
        (json.dumps([{**MINE, "loras": ["lcm"]}]), "loras"),
        (json.dumps([{**MINE, "vae": "mine", "pipeline": "SanaPipeline"}]), "vae cannot be used with"),
        (json.dumps([{**MINE, "loras": [{"lora": "lcm"}] * 2}]), "loras must be different"),
        (json.dumps([{**MINE, "loras": [{"lora": "lcm"}], "quantization": "nf4"}]), "loras cannot be used with"),
        (json.dumps([{**MINE, "id": ""}]), "id"),
        (json.dumps([{**MINE, "steps": "many"}]), "steps"),
        (json.dumps([{"id": "mine"}]), "name"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong_in_it(tmp_path: Path, content: str, named: str) -> None:
    (tmp_path / CATALOGUE_FILE).write_text(content)
    with pytest.raises(InvalidCatalogue) as refused:
        load_catalogue(ASSETS_DIR, tmp_path)
    text = str(refused.value)
    assert str(tmp_path / CATALOGUE_FILE) in text and named in text
    assert "\n" not in text and len(text) < 800


def test_a_file_that_is_no_text_is_named_too(tmp_path: Path) -> None:
    (tmp_path / CATALOGUE_FILE).write_bytes(b"\xff\xfe[\x00]\x00")
    with pytest.raises(InvalidCatalogue, match=CATALOGUE_FILE):
        load_catalogue(ASSETS_DIR, tmp_path)


def test_a_missing_shipped_catalogue_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidCatalogue, match=CATALOGUE_FILE):
        load_catalogue(tmp_path, tmp_path)
