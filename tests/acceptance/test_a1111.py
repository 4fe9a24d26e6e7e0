"""AUTOMATIC1111's API with its clients: webuiapi itself, and recorded requests of Open WebUI and SillyTavern."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from typing import Any, get_args

import httpx
import pytest
from gradio_client import Client
from PIL import Image
from webuiapi import WebUIApi, WebUIApiResult

from imagegen.schema.field_types import SamplerName
from tests.acceptance.conftest import Studio

SMALL = {"width": 128, "height": 128, "cfg_scale": 4}
LONG = {**SMALL, "steps": 150, "batch_size": 8}


@pytest.fixture
def api(studio: Studio) -> WebUIApi:
    return WebUIApi(baseurl=f"{studio.url}/sdapi/v1", sampler="DPM++ 2M", steps=3)


@pytest.fixture
def http(studio: Studio) -> Iterator[httpx.Client]:
    """A client without sign-in."""
    with httpx.Client(base_url=f"{studio.url}/sdapi/v1/", headers={"Authorization": ""}, timeout=120) as client:
        yield client


def decode_base64_image(text: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(text, validate=True)))


@contextmanager
def while_generating(call: Callable[[], Any], api: WebUIApi) -> Iterator[Future[Any]]:
    """Runs while a job of another user is in progress, from its first step on."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(call)
        try:
            poll_until_found(lambda: api.get_progress()["state"]["sampling_step"] > 0)
            yield waiting
        finally:
            api.interrupt()


def poll_until_found(happened: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := happened():
            return found
        time.sleep(0.02)
    raise TimeoutError


def test_the_same_seed_gives_the_pixels_of_the_other_doors(api: WebUIApi, studio: Studio) -> None:
    """Since version 1.9 of the web UI, DPM++ 2M is with Karras's scheduler unless the request names another."""
    made = api.txt2img(prompt="a red circle", seed=7, **SMALL)
    file, receipt = Client(studio.url, verbose=False).predict(
        "a red circle",
        seed=7,
        steps=3,
        guidance_scale=4,
        sampler="DPM++ 2M Karras",
        width=128,
        height=128,
        api_name="/txt2img",
    )
    with Image.open(file) as picture:
        assert picture.tobytes() == made.image.tobytes()
        assert picture.text["parameters"] == made.info["infotexts"][0]  # type: ignore[attr-defined]
    assert made.info["receipts"] == [receipt]


def test_a_batch_has_a_seed_and_an_infotext_for_each_picture(api: WebUIApi) -> None:
    made = api.txt2img(prompt="a red circle", negative_prompt="a square", seed=7, n_iter=2, **SMALL)
    assert [image.size for image in made.images] == [(128, 128)] * 2
    assert made.info["all_seeds"] == [7, 8]
    assert made.info["all_negative_prompts"] == ["a square"] * 2
    assert [text.partition("Seed: ")[2][:1] for text in made.info["infotexts"]] == ["7", "8"]
    facts = (made.info["seed"], made.info["sampler_name"], made.info["sd_model_name"])
    assert facts == (7, "DPM++ 2M Karras", "embedded")
    assert made.parameters["prompt"] == "a red circle" and made.parameters["steps"] == 3


def test_a_variation_has_its_subseeds(api: WebUIApi) -> None:
    made = api.txt2img(prompt="a red circle", seed=7, subseed=9, subseed_strength=0.25, batch_size=2, **SMALL)
    assert (made.info["all_seeds"], made.info["all_subseeds"]) == ([7, 7], [9, 10])
    assert (made.info["seed"], made.info["subseed"], made.info["subseed_strength"]) == (7, 9, 0.25)
    assert "Variation seed: 10, Variation seed strength: 0.25" in made.info["infotexts"][1]
    settings = api.png_info(made.images[1]).parameters
    assert (settings["Variation seed"], settings["Variation seed strength"]) == ("10", "0.25")
    (drawn,) = api.txt2img(prompt="a red circle", seed=7, subseed_strength=0.25, **SMALL).info["receipts"]
    assert isinstance(drawn["variation_seed"], int)


def test_a_lora_in_the_prompt_changes_the_picture(api: WebUIApi) -> None:
    plain = api.txt2img(prompt="a red circle", seed=7, **SMALL)
    neon = api.txt2img(prompt="a red circle <lora:neon:0.8>", seed=7, **SMALL)
    assert plain.image.tobytes() != neon.image.tobytes()
    assert neon.info["prompt"] == "a red circle <lora:neon:0.8>"
    assert neon.info["receipts"][0]["prompt"] == "a red circle"
    assert neon.info["receipts"][0]["loras"][0]["weight"] == 0.8


def test_a_picture_is_made_anew(api: WebUIApi) -> None:
    source = Image.new("RGB", (200, 100), "red")
    made = api.img2img(images=[source], prompt="a red circle", denoising_strength=0.5, seed=7, **SMALL)
    again = api.img2img(images=[source], prompt="a red circle", denoising_strength=0.5, seed=7, **SMALL)
    assert made.image.size == (128, 128)
    assert made.info["denoising_strength"] == 0.5
    assert made.image.tobytes() == again.image.tobytes()
    assert "init_images" not in made.parameters


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("util_get_model_names", ["embedded", "embedded-fast"]),
        ("util_get_current_model", "embedded"),
        ("util_get_scheduler_names", ["automatic", "karras", "uniform"]),
        (
            "get_scripts",
            {
                "txt2img": ["adetailer", "controlnet"],
                "img2img": ["adetailer", "controlnet", "outpainting mk2", "poor man's outpainting"],
            },
        ),
        ("get_embeddings", {"loaded": {}, "skipped": {}}),
        ("get_cmd_flags", {}),
        ("refresh_checkpoints", {}),
        ("interrupt", {}),
        ("skip", {}),
        ("get_latent_upscale_modes", [{"name": "Latent"}]),
        *((f"get_{name}", []) for name in (
            "sd_vae", "hypernetworks", "face_restorers", "realesrgan_models", "prompt_styles",
        )),
    ],
)  # fmt: skip
def test_what_there_is_and_what_there_is_not(api: WebUIApi, method: str, expected: Any) -> None:
    assert getattr(api, method)() == expected


def test_lists_have_the_fields_that_clients_read(api: WebUIApi) -> None:
    assert api.get_sd_models()[0].keys() == {"title", "model_name", "hash", "sha256", "filename", "config"}
    assert {"name": "Euler a", "aliases": ["k_euler_a", "k_euler_ancestral"], "options": {}} in api.get_samplers()
    assert set(api.util_get_sampler_names()) == set(get_args(SamplerName))
    assert api.get_schedulers()[0].keys() >= {"name", "label"}
    upscalers = [upscaler["name"] for upscaler in api.get_upscalers()]
    assert upscalers == ["None", "Lanczos", "Bicubic", "Nearest", "studio-x4"]
    assert api.get_loras()[0].keys() == {"name", "alias", "path", "metadata"}
    memory = api.get_memory()
    assert memory["ram"]["free"] + memory["ram"]["used"] == memory["ram"]["total"] and memory["cuda"] == {}


def test_options_come_back_as_they_were_given(api: WebUIApi) -> None:
    options = api.get_options()
    assert api.set_options(options) == {}
    api.util_set_model("embeded")
    assert api.get_options() == options


def test_progress_is_reported_while_a_picture_is_generated(api: WebUIApi) -> None:
    idle = api.get_progress()
    assert (idle["progress"], idle["state"]["job_count"], idle["current_image"]) == (0, 0, None)
    with while_generating(lambda: api.txt2img(prompt="a red circle", **LONG), api) as waiting:
        seen = poll_until_found(lambda: (now := api.get_progress())["current_image"] and now)
        assert 0 < seen["progress"] < 1 and seen["eta_relative"] >= 0
        assert seen["state"]["job_count"] == 1 and seen["state"]["sampling_steps"] == 150
        assert decode_base64_image(seen["current_image"]).format == "JPEG"
        assert api.custom_get("sdapi/v1/progress?skip_current_image=true")["current_image"] is None
    assert len(waiting.result().images) == 8, "an interrupt keeps the pictures"


def test_an_interrupt_keeps_the_pictures_as_they_are_then(api: WebUIApi) -> None:
    def generate() -> WebUIApiResult:
        return api.txt2img(prompt="a red circle", **LONG)

    with while_generating(generate, api) as waiting:
        assert api.interrupt() == {}
        made = waiting.result(60)
    assert [image.size for image in made.images] == [(128, 128)] * 8
    (step,) = {receipt["unfinished_at_step"] for receipt in made.info["receipts"]}
    assert 0 < step < 150


def test_somebody_else_can_cancel_it(api: WebUIApi, http: httpx.Client) -> None:
    with while_generating(lambda: api.txt2img(prompt="a red circle", **LONG), api) as waiting:
        assert http.post("skip").json() == {}
        with pytest.raises(RuntimeError) as caught:
            waiting.result(30)
    status, text = caught.value.args
    assert status == 409 and json.loads(text)["error"] == "cancelled"
    poll_until_found(lambda: api.get_progress()["state"]["job_count"] == 0)


def test_a_client_that_leaves_takes_its_job_along(api: WebUIApi, http: httpx.Client) -> None:
    def leave() -> None:
        with pytest.raises(httpx.ReadTimeout):
            http.post("txt2img", json={"prompt": "a red circle", **LONG}, timeout=2)

    leaving = threading.Thread(target=leave)
    leaving.start()
    poll_until_found(lambda: api.get_progress()["state"]["job_count"] == 1)
    leaving.join()
    poll_until_found(lambda: api.get_progress()["state"]["job_count"] == 0, seconds=10)


def test_the_settings_in_a_picture_are_read_back(api: WebUIApi, studio: Studio) -> None:
    made = api.txt2img(prompt="a red circle", seed=7, scheduler="uniform", **SMALL)
    read = api.png_info(made.image)
    assert read.info == made.info["infotexts"][0]
    assert read.json["items"].keys() == {"parameters", "receipt"}
    expected = {"Prompt": "a red circle", "Seed": "7", "Steps": "3", "Size-1": "128", "Sampler": "DPM++ 2M"}
    assert expected.items() <= read.parameters.items()
    answer = httpx.post(f"{studio.url}/v1/txt2img", json={"prompt": "a red circle", "seed": 7, "steps": 2}).json()
    for kind in ("jpeg", "webp"):
        file = httpx.get(f"{studio.url}{answer['url']}", params={"format": kind}).content
        response = api.session.post(f"{api.baseurl}/png-info", json={"image": base64.b64encode(file).decode()}).json()
        assert response["parameters"]["Seed"] == "7"
    nothing = api.png_info(Image.new("RGB", (8, 8)))
    assert (nothing.info, nothing.json["items"], nothing.parameters) == ("", {}, {})


def test_pictures_are_enlarged(api: WebUIApi) -> None:
    source = Image.new("RGB", (60, 30), "red")
    assert api.extra_single_image(source).image.size == (60, 30)
    assert api.extra_single_image(source, upscaler_1="Lanczos", upscaling_resize=3).image.size == (180, 90)
    to_size = {"resize_mode": 1, "upscaling_resize_w": 90, "upscaling_resize_h": 90, "upscaler_1": "Nearest"}
    several = api.extra_batch_images([source, source], **to_size)
    assert [image.size for image in several.images] == [(90, 90)] * 2
    assert api.extra_single_image(source, upscaling_crop=False, **to_size).image.size == (180, 90)


@pytest.mark.parametrize(
    ("call", "status", "message"),
    [
        (lambda api: api.txt2img(prompt="x", enable_hr=True, hr_scale=9), 400, "hr_scale: must be between 1 and 4"),
        (
            lambda api: api.txt2img(prompt="x", enable_hr=True, hr_scale=4, width=512),
            400,
            "hr_scale: gives a width of 2048 pixels; at most 1024 are possible",
        ),
        (lambda api: api.txt2img(prompt="x", cfg_scale=99), 400, "cfg_scale: must be between 1 and 30"),
        (lambda api: api.txt2img(prompt="x", sampler_name="LMS"), 400, "sampler_name: must be one of Euler"),
        (lambda api: api.txt2img(prompt="x", width=1024), 400, "width: must be at most 512 with the model embedded"),
        (lambda api: api.txt2img(prompt="x <lora:y:1>"), 404, "prompt: there is no 'y' here"),
        (
            lambda api: api.txt2img(prompt="x", override_settings={"sd_model_checkpoint": "y"}),
            404,
            "sd_model_checkpoint: there is no 'y' here",
        ),
        (lambda api: api.img2img(images=[], prompt="x"), 400, "init_images: must hold one picture"),
        (lambda api: api.interrogate(Image.new("RGB", (8, 8))), 404, "This picture does not contain the prompt"),
        (lambda api: api.png_info(Image.new("RGB", (4, 4))), 400, "image: must be at least 8 pixels wide and high"),
        (
            lambda api: api.extra_single_image(Image.new("RGB", (8, 8)), gfpgan_visibility=1),
            400,
            "gfpgan_visibility: must be 0: faces are not restored here",
        ),
        (
            lambda api: api.extra_single_image(
                Image.new("RGB", (4000, 4000)), upscaler_1="Nearest", upscaling_resize=3
            ),
            400,
            "upscaling_resize: gives 12000 x 12000 pixels; at most 68 million are allowed",
        ),
        (
            lambda api: api.extra_single_image(Image.new("RGB", (8, 8)), upscaler_1="ESRGAN_4x"),
            404,
            "upscaler_1: there is no 'ESRGAN_4x' here. It can be Lanczos, Bicubic, Nearest, studio-x4",
        ),
    ],
)
def test_unsupported_operations_are_named_in_the_error(
    api: WebUIApi, call: Callable[[WebUIApi], object], status: int, message: str
) -> None:
    with pytest.raises(RuntimeError) as caught:
        call(api)
    code, text = caught.value.args
    answer = json.loads(text)
    assert code == status and answer["errors"].startswith(message)
    assert answer.keys() == {"error", "detail", "body", "errors"}


def test_a_model_that_is_not_there_is_not_chosen(http: httpx.Client) -> None:
    for title, status in (("nothing", 404), ("sd-1.5", 409)):
        refused = http.post("options", json={"sd_model_checkpoint": title})
        assert refused.status_code == status and refused.json()["detail"].startswith("sd_model_checkpoint: ")
    assert http.get("options").json()["sd_model_checkpoint"] == "embedded"


def test_a_model_of_the_hub_has_the_hash_of_its_weights(hub_studio: Studio) -> None:
    """Of a folder in diffusers format, it is the start of the SHA-256 of the denoiser's file."""
    model = "studio/tiny-sd15"
    loaded = httpx.post(f"{hub_studio.url}/v1/models/load", json={"model": model}, timeout=120)
    assert loaded.status_code == 200, loaded.text
    (file,) = hub_studio.data_dir.parent.glob("models/hub/*tiny-sd15/snapshots/*/unet/*.safetensors")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    listed = {each["title"]: each for each in httpx.get(f"{hub_studio.url}/sdapi/v1/sd-models").json()}
    assert (listed[model]["sha256"], listed[model]["hash"]) == (sha256, sha256[:10])
    body = {"prompt": "x", "steps": 1, "width": 64, "height": 64}
    for title in (model, f"{model} [{sha256[:10]}]", sha256[:10]):
        sent = body | {"override_settings": {"sd_model_checkpoint": title}}
        answer = httpx.post(f"{hub_studio.url}/sdapi/v1/txt2img", json=sent, timeout=120)
        assert answer.status_code == 200, answer.text
        info = json.loads(answer.json()["info"])
        assert (info["sd_model_name"], info["sd_model_hash"]) == (model, sha256[:10])
        assert f"Model hash: {sha256[:10]}, Model: {model}" in info["infotexts"][0]


def test_open_webui(http: httpx.Client) -> None:
    """Its engine "automatic1111" reads the options, sends them back with another model, and generates."""
    options = http.get("options").json()
    (model, *_) = http.get("sd-models").json()
    assert model["model_name"]
    options["sd_model_checkpoint"] = model["title"]
    assert http.post("options", json=options).status_code == 200
    wanted = {"prompt": "a red circle", "batch_size": 2, "width": 512, "height": 512, "steps": 2}
    answer = http.post("txt2img", json={**wanted, "negative_prompt": "a square"})
    assert answer.status_code == 200
    assert json.loads(answer.json()["info"])["all_seeds"]
    assert [decode_base64_image(image).size for image in answer.json()["images"]] == [(512, 512)] * 2


def test_sillytavern(http: httpx.Client) -> None:
    """It selects a model, waits until the web UI is idle, and includes its own address and password."""
    for name in ("samplers", "schedulers", "upscalers", "latent-upscale-modes"):
        assert all(entry["name"] for entry in http.get(name).json())
    assert http.get("sd-vae").json() == []
    (title, *_) = [model["title"] for model in http.get("sd-models").json()]
    assert http.post("options", json={"sd_model_checkpoint": title}).status_code == 200
    progress = http.get("progress").json()
    assert progress["progress"] == 0 and progress["state"]["job_count"] == 0
    assert "forge_preset" not in http.get("options").json()
    answer = http.post(
        "txt2img",
        json={
            "url": "http://studio:7860", "auth": "me:secret", "prompt": "a red circle", "negative_prompt": "a square",
            "sampler_name": "DDIM", "scheduler": "automatic", "steps": 2, "cfg_scale": 7, "width": 128, "height": 128,
            "restore_faces": False, "enable_hr": False, "hr_upscaler": "Latent", "hr_scale": 2,
            "hr_additional_modules": [], "denoising_strength": 0.7, "hr_second_pass_steps": 0,
            "override_settings": {"CLIP_stop_at_last_layers": 2}, "override_settings_restore_afterwards": True,
            "clip_skip": 2, "save_images": True, "send_images": True, "do_not_save_grid": False,
            "do_not_save_samples": False,
        },
    )  # fmt: skip
    assert answer.status_code == 200
    assert decode_base64_image(answer.json()["images"][0]).format == "PNG"
    assert json.loads(answer.json()["info"])["clip_skip"] == 2
    assert "secret" not in answer.text
    assert http.post("interrupt").json() == {}
