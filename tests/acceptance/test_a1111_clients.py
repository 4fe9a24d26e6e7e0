"""Other clients of AUTOMATIC1111's API: some of them themselves, and of the others the requests that they send."""

from __future__ import annotations

import base64
import io
import json
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image
from sd_backend_client import A1111Webservice, DiffusionParams, ServerError, connect_to_backend
from sd_backend_client.api.webui.response_formats import GenerationInfoData

from tests.acceptance.conftest import Studio
from tests.acceptance.programs import run_node

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Its type annotations are those of an older Python.
    from aaa1111 import AAA1111
    from aaa1111.types.extras import ExtrasSingleImage
    from aaa1111.types.toimg import IMG2IMG, TXT2IMG

START = Image.new("RGB", (64, 64), "red")
# What AI Render, an add-on of Blender, sends for a rendered picture.
AI_RENDER = {
    "prompt": "a red circle", "negative_prompt": "ugly, bad art", "width": 128, "height": 128, "image_similarity": 0.4,
    "seed": 7, "cfg_scale": 7, "steps": 3, "sampler": "DPM++ 2M", "denoising_strength": 0.6,
    "sampler_index": "DPM++ 2M",
}  # fmt: skip
AI_RENDER_UPSCALE = {
    "resize_mode": 0, "show_extras_results": True, "gfpgan_visibility": 0, "codeformer_visibility": 0,
    "codeformer_weight": 0, "upscaling_resize": 2.0, "upscaling_resize_w": 128, "upscaling_resize_h": 128,
    "upscaling_crop": True, "upscaler_1": "Lanczos", "upscaler_2": "None", "extras_upscaler_2_visibility": 0,
    "upscale_first": True,
}  # fmt: skip
# What the plugin Auto-Photoshop-StableDiffusion sends: the request among its own state.
AUTO_PHOTOSHOP = {
    "selection_info": {"left": 0, "right": 128, "top": 0, "bottom": 128, "width": 128, "height": 128},
    "alwayson_scripts": {}, "prompt": "a red circle", "negative_prompt": "", "original_prompt": "a red circle",
    "original_negative_prompt": "", "clip_skip": 1, "steps": 3, "sampler_index": "Euler a", "width": 128,
    "height": 128, "denoising_strength": 0.5, "batch_size": 1, "cfg_scale": 7, "seed": "-1", "mask_blur": 4,
    "use_sharp_mask": "none", "use_prompt_shortcut": False, "prompt_shortcut_ui_dict": {}, "uniqueDocumentId": "5f",
    "mode": "txt2img", "restore_faces": False, "tiling": False, "session_id": 1,
}  # fmt: skip
# What SillyTavern sends to stable-diffusion.cpp, to Draw Things, and to SD.Next.
SDCPP = {
    "model": "embedded", "prompt": "a red circle", "negative_prompt": "a square", "width": 128, "height": 128,
    "steps": 3, "cfg_scale": 7, "seed": 7, "batch_size": 1, "sampler_name": "euler_a", "scheduler": "discrete",
}  # fmt: skip
DRAW_THINGS = {
    "prompt": "a red circle", "negative_prompt": "a square", "sampler_name": "DPM++ 2M Karras", "steps": 3,
    "cfg_scale": 7, "width": 128, "height": 128, "restore_faces": False, "enable_hr": False,
    "denoising_strength": 0.7, "clip_skip": 1, "upscaler_scale": 2, "seed": 7,
}  # fmt: skip
SD_NEXT = {
    "url": "http://studio:7860", "auth": "me:secret", "prompt": "a red circle", "negative_prompt": "a square",
    "sampler_name": "UniPC", "scheduler": "normal", "steps": 3, "cfg_scale": 7, "width": 128, "height": 128,
    "restore_faces": False, "enable_hr": False, "hr_upscaler": "Latent (nearest-exact)", "hr_scale": 2,
    "denoising_strength": 0.7, "hr_second_pass_steps": 0, "seed": 7, "override_settings": {
        "CLIP_stop_at_last_layers": 1,
    }, "override_settings_restore_afterwards": True, "clip_skip": 1, "save_images": True, "send_images": True,
    "do_not_save_grid": False, "do_not_save_samples": False,
}  # fmt: skip


@pytest.fixture
def http(studio: Studio) -> Iterator[httpx.Client]:
    """A client without sign-in."""
    with httpx.Client(base_url=studio.url, timeout=120) as client:
        yield client


@pytest.fixture
def aaa1111(studio: Studio) -> Iterator[AAA1111]:
    """The client of that name. It closes its connections itself."""
    api = AAA1111(base_url=studio.url)
    yield api
    del api


def encode_picture(image: Image.Image, prefix: str = "data:image/png;base64,") -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return prefix + base64.b64encode(buffer.getvalue()).decode()


def read_answer(answer: httpx.Response) -> tuple[Image.Image, dict[str, Any]]:
    """Returns the first picture, and `info`."""
    assert answer.status_code == 200, answer.text
    image = Image.open(io.BytesIO(base64.b64decode(answer.json()["images"][0], validate=True)))
    return image, json.loads(answer.json()["info"])


def test_sd_backend_client(studio: Studio) -> None:
    client = connect_to_backend(studio.url)
    assert isinstance(client, A1111Webservice)
    capabilities = client.get_capabilities()
    assert capabilities.interrogate and capabilities.scheduler and capabilities.controlnet
    assert not (capabilities.ultimate_upscale or capabilities.soft_inpainting)
    assert [option.name for option in client.list_checkpoints()] == ["embedded", "embedded-fast"]
    assert [option.name for option in client.list_upscalers()] == ["Lanczos", "Bicubic", "Nearest", "studio-x4"]
    assert (client.list_vaes(), client.list_hypernetworks()) == ([], [])
    assert [model.full_model_name for model in client.list_controlnet_models()] == ["studio-edges"]
    assert {option.name for option in client.list_samplers()} >= {"euler_ancestral", "dpmpp_2m", "uni_pc"}
    params = DiffusionParams(prompt="a red circle", seed=7, steps=3, width=128, height=128, sd_model_name="embedded")
    made = client.submit_txt2img(params).wait(60)
    assert isinstance(made.raw_info, GenerationInfoData)
    assert (made.seeds, made.images[0].size, made.raw_info.sampler_name) == ([7], (128, 128), "Euler a")
    assert made.raw_info.sd_model_hash == client.get_models()[0].hash
    repainted = client.submit_img2img(params.model_copy(update={"init_images": [START]})).wait(60)
    assert repainted.images[0].size == (128, 128)
    assert client.submit_upscale(START, 128, 96).wait(60).images[0].size == (128, 96)
    with pytest.raises(ServerError) as caught:
        client.interrogate(START)
    assert caught.value.status_code == 404
    client.disconnect()


def test_aaa1111(aaa1111: AAA1111) -> None:
    lists = (
        "sd_vae", "hypernetworks", "face_restorers", "realesrgan_models", "prompt_styles",
        "script_info", "lycos",
    )  # fmt: skip
    assert all(getattr(aaa1111, name)() == [] for name in lists)
    assert aaa1111.samplers() and aaa1111.upscalers() and aaa1111.loras() and aaa1111.memory() and aaa1111.scripts()
    assert aaa1111.progress().progress == 0
    for action in ("interrupt", "skip", "refresh_checkpoints", "refresh_loras", "refresh_lycos"):
        getattr(aaa1111, action)()
    aaa1111.unload_checkpoint()
    aaa1111.reload_checkpoint()
    made = aaa1111.txt2img(TXT2IMG(prompt="a red circle", seed=7, steps=3, width=128, height=128))
    assert made.images[0].size == (128, 128) and made.info["all_seeds"] == [7]
    repainted = aaa1111.img2img(IMG2IMG(prompt="x", init_images=[START], steps=3, width=128, height=128))
    assert repainted.images[0].size == (128, 128)
    enlarged = aaa1111.extra_single_image(ExtrasSingleImage(image=START, upscaler_1="Lanczos"))
    assert enlarged.image.size == (128, 128)
    aaa1111.set_options(**aaa1111.get_options())


def test_node_sd_webui(studio: Studio) -> None:
    output = run_node("webui.mjs", studio.url)
    for (encoded,) in (output["made"], output["repainted"]):
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
            assert image.size == (128, 128)
    (model, *_) = httpx.get(f"{studio.url}/sdapi/v1/sd-models").json()
    assert output["info"] == {
        "prompt": "a red circle", "negativePrompt": "a square", "steps": 3, "samplingMethod": "Euler a", "cfgScale": 4,
        "seed": 7, "width": 128, "height": 128, "modelHash": model["hash"], "model": model["title"],
    }  # fmt: skip


def test_ai_render(http: httpx.Client) -> None:
    assert [each["name"] for each in http.get("/sdapi/v1/upscalers").json() if each["name"] != "None"]
    body = AI_RENDER | {"init_images": [encode_picture(START)]}
    image, info = read_answer(http.post("/sdapi/v1/img2img", json=body))
    assert image.size == (128, 128) and info["ignored"] == ["image_similarity", "sampler"]
    assert info["sampler_name"] == "DPM++ 2M Karras"
    answer = http.post("/sdapi/v1/extra-single-image", json=AI_RENDER_UPSCALE | {"image": encode_picture(START)}).json()
    with Image.open(io.BytesIO(base64.b64decode(answer.get("images", [False])[0] or answer["image"]))) as enlarged:
        assert enlarged.size == (128, 128)


def test_auto_photoshop(http: httpx.Client) -> None:
    assert http.get("/sdapi/v1/options").json()["CLIP_stop_at_last_layers"] == 1
    assert http.post("/sdapi/v1/options", json={"inpainting_mask_weight": 1}).status_code == 200
    image, info = read_answer(http.post("/sdapi/v1/txt2img", json=AUTO_PHOTOSHOP))
    assert {"selection_info", "mode", "session_id"} <= set(info["ignored"])
    body = {"image": encode_picture(image)}  # Without its settings, as Photoshop sends it back.
    assert http.post("/sdapi/v1/png-info", json=body).json()["info"] == ""
    settings = AUTO_PHOTOSHOP | {"mode": "img2img", "init_images": [encode_picture(START, prefix="")]}
    repainted, info = read_answer(http.post("/sdapi/v1/img2img", json=settings))
    assert repainted.size == (128, 128) and info["denoising_strength"] == 0.5


def test_stable_diffusion_api(studio: Studio) -> None:
    """Its requests have an argument list for ControlNet, and a field of its own.

    `package.json` replaces the version of sharp that it names: that one downloads its binary from GitHub.
    """
    output = run_node("stable_diffusion_api.mjs", studio.url)
    made, repainted = output["made"], output["repainted"]
    assert (made["format"], made["size"], made["all_seeds"]) == ("png", [128, 128], [7])
    assert (made["sampler_name"], made["ignored"]) == ("Euler a", ["use_deprecated_controlnet"])
    assert (repainted["size"], repainted["all_seeds"]) == ([128, 128], [8])
    assert (output["enlarged"], output["progress"], output["model"]) == ([256, 256], [0, 0], "embedded")
    assert output["models"] == ["embedded", "embedded-fast"] and "Euler a" in output["samplers"]
    assert output["refused"] == [400, "width: must be between 64 and 2048"]


def test_sillytavern_with_the_dialect_of_stable_diffusion_cpp(http: httpx.Client) -> None:
    assert http.request("OPTIONS", "/v1/images/generations").is_success
    assert SDCPP["model"] in [model["id"] for model in http.get("/v1/models").json()["data"]]
    _, info = read_answer(http.post("/sdapi/v1/txt2img", json=SDCPP))
    assert (info["sampler_name"], info["sd_model_name"], info["ignored"]) == ("Euler a", "embedded", [])


def test_sillytavern_with_the_dialects_of_draw_things_and_sd_next(http: httpx.Client) -> None:
    assert http.head("/").is_success
    _, info = read_answer(http.post("/sdapi/v1/txt2img", json=DRAW_THINGS))
    assert (info["sampler_name"], info["ignored"]) == ("DPM++ 2M Karras", ["upscaler_scale"])
    assert http.get("/sdapi/v1/upscalers").json()
    answer = http.post("/sdapi/v1/txt2img", json=SD_NEXT)
    assert read_answer(answer)[1]["sampler_name"] == "UniPC" and "secret" not in answer.text


def test_pictures_come_in_the_format_that_the_settings_name(http: httpx.Client) -> None:
    body = {"prompt": "a red circle", "seed": 7, "steps": 2, "width": 64, "height": 64}
    for name, file_format in (("jpg", "JPEG"), ("webp", "WEBP"), ("png", "PNG")):
        image, info = read_answer(
            http.post("/sdapi/v1/txt2img", json=body | {"override_settings": {"samples_format": name}})
        )
        assert (image.format, info["seed"]) == (file_format, 7)
    answer = http.post("/sdapi/v1/txt2img", json=body | {"send_images": False}).json()
    assert answer["images"] == [] and json.loads(answer["info"])["all_seeds"] == [7]


def test_interrogate_returns_the_prompt_in_the_picture(http: httpx.Client) -> None:
    body = {"prompt": "a red circle, größer", "steps": 1, "width": 64, "height": 64}
    made = http.post("/sdapi/v1/txt2img", json=body).json()["images"][0]
    answer = http.post("/sdapi/v1/interrogate", json={"image": made, "model": "deepdanbooru"})
    assert answer.json() == {"caption": "a red circle, größer"}
    refused = http.post("/sdapi/v1/interrogate", json={"image": encode_picture(START), "model": "clip"})
    assert refused.status_code == 404 and refused.json()["error"] == "no_prompt"
    assert refused.json()["detail"].startswith("This picture does not contain the prompt that it was made from")
    assert http.post("/sdapi/v1/interrogate", json={}).json()["detail"] == "image: is required"


def test_ignored_fields_are_logged_without_their_values(http: httpx.Client, studio: Studio) -> None:
    body = {"prompt": "x", "steps": 1, "width": 64, "height": 64, "of_a_later_version": "secret value"}
    _, info = read_answer(http.post("/sdapi/v1/txt2img", json=body))
    assert info["ignored"] == ["of_a_later_version"]
    log = studio.log.read_text()
    (line,) = [json.loads(each) for each in log.splitlines() if "of_a_later_version" in each]
    assert (line["action"], line["fields"]) == ("fields_ignored", ["of_a_later_version"])
    assert "secret value" not in log


def test_the_hash_in_the_settings_is_the_one_in_the_list(http: httpx.Client) -> None:
    _, info = read_answer(http.post("/sdapi/v1/txt2img", json={"prompt": "x", "steps": 1, "width": 64, "height": 64}))
    (model, *_) = http.get("/sdapi/v1/sd-models").json()
    assert f"Model hash: {model['hash']}, Model: {model['title']}" in info["infotexts"][0]
    assert info["sd_model_hash"] == model["hash"] == model["sha256"][:10]
    assert info["receipts"][0]["model_sha256"] == model["sha256"]
    assert http.get("/sdapi/v1/options").json()["sd_checkpoint_hash"] == model["sha256"]
