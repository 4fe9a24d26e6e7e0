"""The picture of an author beside the files of a model or an adapter."""

from pathlib import Path

import pytest
from PIL import Image

from imagegen.library.author_picture import find_picture
from tests.unit.in_process_studio import run_in_process_studio
from tests.unit.model_files import make_snapshot_folder, write_lora, write_unet_model


def write_picture(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (1000, 500), "red").save(file)
    return file


def test_a_file_has_the_picture_of_its_own_name_alone(tmp_path: Path) -> None:
    mine = write_lora(tmp_path / "mine.safetensors")
    write_picture(tmp_path / "other.png")
    assert find_picture(mine) is None
    plain = write_picture(tmp_path / "mine.jpg")
    assert find_picture(mine) == plain
    preview = write_picture(tmp_path / "mine.preview.png")
    assert find_picture(mine) == preview


def test_a_repository_has_pictures_for_all_of_its_files(tmp_path: Path) -> None:
    snapshot = make_snapshot_folder(tmp_path, "someone/loras")
    first, second = (write_lora(snapshot / f"{name}.safetensors") for name in ("a", "b"))
    sample = write_picture(snapshot / "images" / "sample.webp")
    assert find_picture(first) == find_picture(second) == find_picture(snapshot) == sample
    write_picture(snapshot / "a-grid.png")
    cover = write_picture(snapshot / "cover.png")
    assert find_picture(snapshot) == cover
    named = write_picture(snapshot / "b.png")
    assert find_picture(second) == named


def test_a_link_that_leaves_the_folder_is_no_picture(tmp_path: Path) -> None:
    mine = write_lora(tmp_path / "models" / "mine.safetensors")
    (tmp_path / "models" / "mine.png").symlink_to(write_picture(tmp_path / "private.png"))
    assert find_picture(mine) is None


@pytest.mark.parametrize("content", ["picture", "broken"])
async def test_it_is_served_as_a_small_webp_file(tmp_path: Path, content: str) -> None:
    async with run_in_process_studio(tmp_path) as studio:
        models = tmp_path / "models"
        write_unet_model(models / "mine")
        write_lora(models / "loras" / "plain.safetensors")
        file = write_picture(models / "mine" / "cover.png")
        if content == "broken":
            file.write_bytes(b"<svg onload='alert(1)'>")
        client = studio.client_without_token
        (listed,) = [each for each in (await client.get("/v1/models/list")).json() if each["model"]["id"] == "mine"]
        assert listed["has_picture"] is True
        answer = await client.get("/v1/models/picture", params={"model": "mine"})
        if content == "broken":
            assert (answer.status_code, answer.json()["error"]["field"]) == (400, "picture")
        else:
            assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/webp")
            (tmp_path / "got.webp").write_bytes(answer.content)
            with Image.open(tmp_path / "got.webp") as image:
                assert (image.format, image.size) == ("WEBP", (640, 320))
        assert (await client.get("/v1/loras/picture", params={"lora": "plain"})).status_code == 404
        missing = await client.get("/v1/loras/picture")
        assert missing.json()["error"]["field"] == "lora"
