"""Models and LoRAs by named endpoints: downloaded over HTTP from a Hub with its real client, and used for a picture."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image

from tests.acceptance.conftest import OWN_LORA, Studio
from tests.hub.server import StandInHub

PROMPT = "a red circle"


@pytest.fixture
def client(hub_studio: Studio) -> Client:
    return Client(hub_studio.url, verbose=False)


def picture(client: Client, **fields: Any) -> tuple[bytes, dict[str, Any]]:
    usual = {"prompt": PROMPT, "width": 64, "height": 64, "steps": 2, "seed": 7}
    file, receipt = client.predict(**{**usual, **fields}, api_name="/txt2img")
    with Image.open(file) as image:
        return image.tobytes(), receipt


def state(client: Client, model: str) -> str | None:
    return next(
        (each["state"] for each in client.predict(api_name="/list_models") if each["model"]["id"] == model), None
    )


def test_the_library_is_searched_page_by_page(client: Client) -> None:
    for prompt in ("a heron at dawn", "a heron at night"):
        client.predict(prompt, steps=1, api_name="/txt2img")
    page = client.predict(search="heron", limit=1, api_name="/list_pictures")
    assert [each["receipt"]["prompt"] for each in page["pictures"]] == ["a heron at night"]
    page = client.predict(search="heron", limit=1, after=page["next"], api_name="/list_pictures")
    assert [each["receipt"]["prompt"] for each in page["pictures"]] == ["a heron at dawn"] and page["next"] is None
    with pytest.raises(AppError, match="limit: must be"):
        client.predict(limit=0, api_name="/list_pictures")


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


def test_a_catalogue_model_includes_its_lora(client: Client) -> None:
    assert client.predict("tiny", api_name="/load_model")["state"] == "in memory"
    assert state(client, "with-lora") == "absent", "its LoRA is not here yet"
    assert client.predict("with-lora", api_name="/load_model")["state"] == "in memory"
    pixels, receipt = picture(client, model="with-lora", steps=3)
    assert [{"lora": used["lora"], "weight": used["weight"]} for used in receipt["loras"]] == [OWN_LORA]
    plain, _ = picture(client, model="tiny", steps=3)
    assert pixels != plain
    again, _ = picture(client, model="tiny", steps=3, loras=[OWN_LORA])
    assert pixels == again


def test_download_progress_is_reported_in_bytes(client: Client) -> None:
    job = client.submit("studio/slow", api_name="/load_model")
    progress_texts: set[str] = set()
    while not job.done():
        progress_texts |= {str(each.desc) for each in job.status().progress_data or []}
        time.sleep(0.05)
    assert job.result()["state"] == "in memory"
    assert any(text.startswith("Downloading: ") and text.endswith("MB") for text in progress_texts), progress_texts


def test_a_download_that_was_stopped_goes_on_where_it_ended(client: Client, hub: StandInHub) -> None:
    hub.add_fault("GET /lfs/studio/tiny-sd21/", times=None, slow=500_000)
    job = client.submit("studio/tiny-sd21", api_name="/load_model")
    poll_until(
        lambda: any(re.match(r"Downloading: [2-9]\.\d MB", str(p.desc)) for p in job.status().progress_data or [])
    )
    Client(client.src, verbose=False).predict("studio/tiny-sd21", api_name="/unload_model")
    with pytest.raises(Exception, match="The download was stopped"):
        job.result()
    hub.clear_faults()
    assert state(client, "studio/tiny-sd21") is None, "a model is there only when it is whole"
    range_requests = len(hub.log)
    assert client.predict("studio/tiny-sd21", api_name="/load_model")["state"] == "in memory"
    assert any(request.range for request in hub.log[range_requests:])


def poll_until(look: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("studio/missing", "cannot be fetched from the Hub: there is no such repository, or the account"),
        ("studio/private", "cannot be fetched from the Hub: there is no such repository, or the account"),
        ("studio/gated", "its terms must be accepted on its page first"),
        ("studio/pickle-only", "has its weights in pickles alone, which may run code; only safetensors"),
        ("studio/foreign-class", "its pipeline is EvilPipeline, but the installed diffusers has no such class"),
        ("studio/no-index", "it is not a model in diffusers format"),
        ("studio/too-large", "studio/too-large needs 9000.0 GB of disk space; downloads may be 100.0 GB here"),
        ("studio/broken-download", "the connection failed; the partial download is kept"),
        ("studio/lora", "it is not a model in diffusers format"),
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
    with pytest.raises(Exception, match="The latents became infinite or NaN"):
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
    loras = [{"lora": "studio/lora", "weight": 0.8}, {"lora": "studio/lora-kohya", "weight": 0.5}]
    both, receipt = picture(client, model="studio/tiny-sd15", loras=loras)
    one, _ = picture(client, model="studio/tiny-sd15", loras=loras[:1])
    assert len({plain, both, one}) == 3
    assert [(used["lora"], used["weight"]) for used in receipt["loras"]] == [
        ("studio/lora", 0.8),
        ("studio/lora-kohya", 0.5),
    ]
    assert picture(client, model="studio/tiny-sd15")[0] == plain


def test_an_embedding_is_loaded_and_used(client: Client) -> None:
    client.predict("studio/tiny-sd15", api_name="/load_model")
    assert client.predict("studio/embedding", api_name="/load_embedding")["trigger"] == ["embedding", "studio-cat"]
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
    with pytest.raises(Exception, match=r"it has several files; name one of them: studio/loras/a.safetensors, "):
        client.predict("studio/loras", api_name="/load_lora")
    assert client.predict("studio/loras/b.safetensors", api_name="/load_lora")["kind"] == "lora"
    assert "studio/loras" in {each["id"] for each in client.predict(api_name="/list_loras")}
    client.predict("studio/loras", True, api_name="/unload_lora")
    assert "studio/loras" not in {each["id"] for each in client.predict(api_name="/list_loras")}


def test_it_is_unloaded_and_deleted(client: Client) -> None:
    client.predict("studio/tiny-sdxl", api_name="/load_model")
    client.predict("studio/tiny-sdxl", api_name="/unload_model")
    poll_until(lambda: state(client, "studio/tiny-sdxl") == "on disk")
    client.predict("studio/tiny-sdxl", True, api_name="/unload_model")
    assert state(client, "studio/tiny-sdxl") is None
    with pytest.raises(Exception, match="delete: must be true or false"):
        client.predict("studio/tiny-sdxl", "no", api_name="/unload_model")
    with pytest.raises(Exception, match="embedded was not downloaded by the studio, so it is not deleted by it"):
        client.predict("embedded", True, api_name="/unload_model")


def test_without_a_hub_all_that_is_on_disk_works(studio: Studio) -> None:
    client = Client(studio.url, verbose=False)
    with pytest.raises(Exception, match=r"sd-1.5 cannot be fetched from the Hub: the connection failed"):
        client.predict("sd-1.5", api_name="/load_model")
    assert picture(client)[1]["model_id"] == "embedded"
