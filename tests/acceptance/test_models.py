"""Models and LoRAs by named endpoints: over HTTP from a Hub, through its real client, to a picture."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client
from PIL import Image

from tests.acceptance.conftest import Studio, running_studio
from tests.hub.server import StandInHub

PROMPT = "a red circle"


@pytest.fixture
def client(stocked: Studio) -> Client:
    return Client(stocked.url, verbose=False)


def picture(client: Client, **fields: Any) -> tuple[bytes, dict[str, Any]]:
    usual = {"prompt": PROMPT, "width": 64, "height": 64, "steps": 2, "seed": 7}
    file, receipt = client.predict(**{**usual, **fields}, api_name="/txt2img")
    with Image.open(file) as image:
        return image.tobytes(), receipt


def state(client: Client, model: str) -> str | None:
    return next(
        (each["state"] for each in client.predict(api_name="/list_models") if each["model"]["id"] == model), None
    )


def test_a_model_comes_from_the_hub_and_paints(client: Client) -> None:
    loaded = client.predict("studio/tiny-sd15", api_name="/load_model")
    assert loaded["state"] == "in memory"
    assert loaded["model"]["architecture"] == "Stable Diffusion 1"
    assert len(loaded["model"]["revision"]) == 40
    _, receipt = picture(client, model="studio/tiny-sd15")
    assert (receipt["model_id"], receipt["model_revision"]) == ("studio/tiny-sd15", loaded["model"]["revision"])
    assert state(client, "studio/tiny-sd15") == state(client, "embedded") == "in memory"


def test_the_fast_model_is_the_embedded_one_with_a_lora_and_few_steps(client: Client) -> None:
    _, receipt = client.predict(PROMPT, seed=7, model="embedded-fast", api_name="/txt2img")
    assert (receipt["steps"], receipt["sampler"], receipt["guidance_scale"]) == (4, "LCM", 1)
    assert receipt["model_id"] == "embedded", "it is that, with a LoRA"
    assert [(used["lora"], used["weight"]) for used in receipt["loras"]] == [("fast", 1)]


def test_a_model_of_the_owners_catalogue_brings_the_lora_that_it_wears(hub: StandInHub, tmp_path: Path) -> None:
    tiny = {"id": "tiny", "name": "Tiny", "repository": "studio/tiny-sd15", "pipeline": "StableDiffusionPipeline"}
    dressed = tiny | {"id": "dressed", "steps": 3, "loras": [{"lora": "studio/lora", "weight": 0.5}]}
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "catalogue.json").write_text(json.dumps([tiny, dressed]))
    with running_studio(tmp_path, environment=hub.environment(tmp_path / "hf")) as studio:
        client = Client(studio.url, verbose=False)
        assert client.predict("tiny", api_name="/load_model")["state"] == "in memory"
        assert state(client, "dressed") == "absent", "its LoRA is not here yet"
        assert client.predict("dressed", api_name="/load_model")["state"] == "in memory"
        pixels, receipt = picture(client, model="dressed", steps=3)
        assert [(used["lora"], used["weight"]) for used in receipt["loras"]] == [("studio/lora", 0.5)]
        plain, _ = picture(client, model="tiny", steps=3)
        assert pixels != plain
        again, _ = picture(client, model="tiny", steps=3, loras=[{"lora": "studio/lora", "weight": 0.5}])
        assert pixels == again


def test_the_way_of_a_download_is_told_in_bytes(client: Client) -> None:
    job = client.submit("studio/slow", api_name="/load_model")
    told: set[str] = set()
    while not job.done():
        told |= {str(each.desc) for each in job.status().progress_data or []}
        time.sleep(0.05)
    assert job.result()["state"] == "in memory"
    assert any(text.startswith("Downloading: ") and text.endswith("MB") for text in told), told


def test_a_download_that_was_stopped_goes_on_where_it_ended(client: Client, hub: StandInHub) -> None:
    hub.fault("GET /lfs/studio/tiny-sd21/", times=None, slow=500_000)
    job = client.submit("studio/tiny-sd21", api_name="/load_model")
    wait_until(
        lambda: any(re.match(r"Downloading: [2-9]\.\d MB", str(p.desc)) for p in job.status().progress_data or [])
    )
    Client(client.src, verbose=False).predict("studio/tiny-sd21", api_name="/unload_model")
    with pytest.raises(Exception, match="The download was stopped"):
        job.result()
    assert state(client, "studio/tiny-sd21") is None, "a model is there only when it is whole"
    asked = len(hub.log)
    assert client.predict("studio/tiny-sd21", api_name="/load_model")["state"] == "in memory"
    assert any(request.range for request in hub.log[asked:])


def wait_until(look: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("studio/missing", "cannot be had from the Hub: there is no such repository, or it is private"),
        ("studio/private", "cannot be had from the Hub: there is no such repository, or it is private"),
        ("studio/gated", "its terms must be accepted on its page first"),
        ("studio/pickle-only", "has its weights in pickles alone, which may run code; only safetensors"),
        ("studio/foreign-class", "its pipeline is EvilPipeline; it can be StableDiffusionPipeline,"),
        ("studio/no-index", "it is no model in diffusers format"),
        ("studio/too-large", "studio/too-large is 9000.0 GB large; downloads may be 100.0 GB here"),
        ("studio/broken-download", "the connection failed; what came so far is kept"),
        ("studio/lora", "it is no model in diffusers format"),
        ("nonsense", "model: there is no 'nonsense' here. It can be embedded, embedded-fast, sd-1.5, "),
        ("../../etc/passwd", "model: there is no '../../etc/passwd' here"),
        ("", "model: must be a name"),
        (None, "model: must be a name"),
    ],
)
def test_what_cannot_be_loaded_says_why(client: Client, reference: str | None, message: str) -> None:
    with pytest.raises(Exception, match=r".+") as refused:
        client.predict(reference, api_name="/load_model")
    assert message in str(refused.value)
    assert "Traceback" not in str(refused.value)


def test_a_model_with_undefined_weights_says_so_when_it_paints(client: Client) -> None:
    client.predict("studio/nan-weights", api_name="/load_model")
    with pytest.raises(Exception, match="The model's numbers became infinite or undefined"):
        picture(client, model="studio/nan-weights")


def test_a_model_that_is_not_on_disk_is_not_loaded_on_the_way(client: Client) -> None:
    with pytest.raises(Exception, match=r"model: sd-1.5 is not on disk yet; load it first"):
        picture(client, model="sd-1.5")


def test_two_loras_are_stacked_and_taken_off_again(client: Client) -> None:
    client.predict("studio/tiny-sd15", api_name="/load_model")
    for name in ("studio/lora", "studio/lora-kohya"):
        info = client.predict(name, api_name="/load_lora")
        assert info["architecture"] == "Stable Diffusion 1"
    assert info["trigger"]
    plain, _ = picture(client, model="studio/tiny-sd15")
    stack = [{"lora": "studio/lora", "weight": 0.8}, {"lora": "studio/lora-kohya", "weight": 0.5}]
    both, receipt = picture(client, model="studio/tiny-sd15", loras=stack)
    one, _ = picture(client, model="studio/tiny-sd15", loras=stack[:1])
    assert len({plain, both, one}) == 3
    assert [(used["lora"], used["weight"]) for used in receipt["loras"]] == [
        ("studio/lora", 0.8),
        ("studio/lora-kohya", 0.5),
    ]
    assert picture(client, model="studio/tiny-sd15")[0] == plain


def test_an_embedding_is_loaded_and_heard(client: Client) -> None:
    client.predict("studio/tiny-sd15", api_name="/load_model")
    assert client.predict("studio/embedding", api_name="/load_embedding")["trigger"] == ["studio-cat"]
    known, receipt = picture(client, prompt="a studio-cat", model="studio/tiny-sd15", embeddings=["studio/embedding"])
    assert receipt["embeddings"][0]["embedding"] == "studio/embedding"
    assert known != picture(client, prompt="a studio-cat", model="studio/tiny-sd15")[0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loras": [{"lora": "nothing"}]}, "loras: there is no 'nothing' here"),
        ({"loras": [{"lora": "studio/lora", "weight": 9}]}, r"loras[0].weight: must be between -4 and 4"),
        ({"loras": [{"name": "x"}]}, r"loras[0].lora: is required"),
        ({"loras": "studio/lora"}, "loras: must be a list"),
        ({"loras": [{"lora": "studio/lora"}] * 9}, "loras: must have at most 8 entries"),
        ({"loras": [{"lora": "studio/lora"}] * 2}, "loras: studio/lora is there twice"),
        (
            {"loras": [{"lora": "studio/lora"}], "model": "embedded"},
            "loras: studio/lora was made for Stable Diffusion 1, and the model embedded is Stable Diffusion of width 1",
        ),
        ({"model": "nothing"}, "model: there is no 'nothing' here"),
        ({"embeddings": ["nothing"]}, "embeddings: there is no 'nothing' here"),
    ],
)
def test_a_wrong_choice_is_refused_by_name(client: Client, fields: dict[str, Any], message: str) -> None:
    client.predict("studio/lora", api_name="/load_lora")
    with pytest.raises(Exception, match=r".+") as refused:
        picture(client, **fields)
    assert message in str(refused.value)


def test_a_repository_with_several_loras_asks_which(client: Client) -> None:
    with pytest.raises(Exception, match=r"it holds several files; say which: studio/loras/a.safetensors, "):
        client.predict("studio/loras", api_name="/load_lora")
    assert client.predict("studio/loras/b.safetensors", api_name="/load_lora")["kind"] == "lora"
    assert "studio/loras" in {each["id"] for each in client.predict(api_name="/list_loras")}
    client.predict("studio/loras", True, api_name="/unload_lora")
    assert "studio/loras" not in {each["id"] for each in client.predict(api_name="/list_loras")}


def test_it_is_unloaded_and_deleted(client: Client) -> None:
    client.predict("studio/tiny-sdxl", api_name="/load_model")
    client.predict("studio/tiny-sdxl", api_name="/unload_model")
    wait_until(lambda: state(client, "studio/tiny-sdxl") == "on disk")
    client.predict("studio/tiny-sdxl", True, api_name="/unload_model")
    assert state(client, "studio/tiny-sdxl") is None
    with pytest.raises(Exception, match="delete: must be true or false"):
        client.predict("studio/tiny-sdxl", "no", api_name="/unload_model")
    with pytest.raises(Exception, match="embedded was not downloaded by the studio, so it is not deleted by it"):
        client.predict("embedded", True, api_name="/unload_model")


@pytest.fixture
def without_hub(tmp_path: Path) -> Iterator[Studio]:
    """A studio that reaches no Hub: nothing listens there."""
    with running_studio(
        tmp_path, environment={"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    ) as studio:
        yield studio


def test_without_a_hub_all_that_is_on_disk_works(without_hub: Studio) -> None:
    client = Client(without_hub.url, verbose=False)
    with pytest.raises(Exception, match=r"sd-1.5 cannot be had from the Hub: the connection failed"):
        client.predict("sd-1.5", api_name="/load_model")
    assert picture(client)[1]["model_id"] == "embedded"
