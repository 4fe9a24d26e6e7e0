"""The requests of the test suite of AUTOMATIC1111's web UI, with the status that it expects.

Requests for what the studio does not have are refused, and the field is named.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.acceptance.conftest import Studio

TXT2IMG = {
    "prompt": "example prompt", "negative_prompt": "", "styles": [], "seed": -1, "subseed": -1, "subseed_strength": 0,
    "seed_resize_from_h": -1, "seed_resize_from_w": -1, "sampler_index": "Euler a", "batch_size": 1, "n_iter": 1,
    "steps": 3, "cfg_scale": 7, "width": 64, "height": 64, "restore_faces": False, "tiling": False, "eta": 0,
    "s_churn": 0, "s_tmax": 0, "s_tmin": 0, "s_noise": 1, "denoising_strength": 0, "enable_hr": False,
    "firstphase_width": 0, "firstphase_height": 0,
}  # fmt: skip
OF_HIRES_FIX = ("enable_hr", "firstphase_width", "firstphase_height")
IMG2IMG = {name: value for name, value in TXT2IMG.items() if name not in OF_HIRES_FIX} | {
    "denoising_strength": 0.75, "resize_mode": 0, "mask": None, "mask_blur": 4, "inpainting_fill": 0,
    "inpaint_full_res": False, "inpaint_full_res_padding": 0, "inpainting_mask_invert": False,
    "include_init_images": False, "override_settings": {},
}  # fmt: skip
EXTRAS = {
    "resize_mode": 0, "show_extras_results": True, "gfpgan_visibility": 0, "codeformer_visibility": 0,
    "codeformer_weight": 0, "upscaling_resize": 2, "upscaling_resize_w": 128, "upscaling_resize_h": 128,
    "upscaling_crop": True, "upscaler_1": "Lanczos", "upscaler_2": "None", "extras_upscaler_2_visibility": 0,
}  # fmt: skip
# Every field of txt2img and img2img at its default, in version 1.10.1.
DEFAULTS: dict[str, object] = {
    "prompt": "", "negative_prompt": "", "styles": None, "seed": -1, "subseed": -1, "subseed_strength": 0,
    "seed_resize_from_h": -1, "seed_resize_from_w": -1, "sampler_name": None, "scheduler": None, "batch_size": 1,
    "n_iter": 1, "steps": 50, "cfg_scale": 7.0, "width": 512, "height": 512, "restore_faces": None, "tiling": None,
    "do_not_save_samples": False, "do_not_save_grid": False, "eta": None, "denoising_strength": None,
    "s_min_uncond": None, "s_churn": None, "s_tmax": None, "s_tmin": None, "s_noise": None, "override_settings": None,
    "override_settings_restore_afterwards": True, "refiner_checkpoint": None, "refiner_switch_at": None,
    "disable_extra_networks": False, "firstpass_image": None, "comments": None, "force_task_id": None,
    "sampler_index": "Euler", "script_name": None, "script_args": [], "send_images": True, "save_images": False,
    "alwayson_scripts": {}, "infotext": None,
}  # fmt: skip
TXT2IMG_DEFAULTS = DEFAULTS | {
    "enable_hr": False, "denoising_strength": 0.75, "firstphase_width": 0, "firstphase_height": 0, "hr_scale": 2.0,
    "hr_upscaler": None, "hr_second_pass_steps": 0, "hr_resize_x": 0, "hr_resize_y": 0, "hr_checkpoint_name": None,
    "hr_sampler_name": None, "hr_scheduler": None, "hr_prompt": "", "hr_negative_prompt": "",
}  # fmt: skip
IMG2IMG_DEFAULTS = DEFAULTS | {
    "resize_mode": 0, "denoising_strength": 0.75, "image_cfg_scale": None, "mask": None, "mask_blur_x": 4,
    "mask_blur_y": 4, "mask_blur": None, "mask_round": True, "inpainting_fill": 0, "inpaint_full_res": True,
    "inpaint_full_res_padding": 0, "inpainting_mask_invert": 0, "initial_noise_multiplier": None, "latent_mask": None,
    "include_init_images": False,
}  # fmt: skip
# The example of txt2img in the web UI's wiki, which some clients have copied.
WIKI_EXAMPLE = TXT2IMG | {
    "prompt": "", "styles": ["string"], "sampler_name": "", "sampler_index": "Euler", "override_settings": {},
}  # fmt: skip
# They would take minutes at the default size.
SMALL = {"steps": 2, "width": 64, "height": 64}


@pytest.fixture
def http(studio: Studio) -> Iterator[httpx.Client]:
    """A client without sign-in."""
    with httpx.Client(base_url=f"{studio.url}/sdapi/v1/", timeout=120) as client:
        yield client


def encode_picture() -> str:
    buffer = io.BytesIO()
    image = Image.new("RGB", (64, 64), "red")
    image.paste("blue", (0, 0, 32, 64))
    image.save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def read_pictures(answer: httpx.Response) -> list[Image.Image]:
    assert answer.status_code == 200, answer.text
    return [Image.open(io.BytesIO(base64.b64decode(image, validate=True))) for image in answer.json()["images"]]


@pytest.mark.parametrize(
    ("fields", "sizes"),
    [
        ({}, [(64, 64)]),
        ({"negative_prompt": "example negative prompt"}, [(64, 64)]),
        ({"prompt": "((emphasis)), (emphasis1:1.1), [to:1], [from::2], [from:to:0.3], [alt|alt1]"}, [(64, 64)]),
        ({"height": 128}, [(64, 128)]),
        ({"sampler_index": "DDIM"}, [(64, 64)]),
        ({"sampler_index": "UniPC"}, [(64, 64)]),
        ({"n_iter": 2}, [(64, 64)] * 2),
        ({"batch_size": 2}, [(64, 64)] * 2),
    ],
)
def test_txt2img(http: httpx.Client, fields: dict[str, Any], sizes: list[tuple[int, int]]) -> None:
    answer = http.post("txt2img", json=TXT2IMG | fields)
    assert [image.size for image in read_pictures(answer)] == sizes
    assert json.loads(answer.json()["info"])["ignored"] == []


def test_img2img(http: httpx.Client) -> None:
    (image,) = read_pictures(http.post("img2img", json=IMG2IMG | {"init_images": [encode_picture()]}))
    assert image.size == (64, 64)


@pytest.mark.parametrize("is_inverted", [False, True])
def test_inpainting(http: httpx.Client, is_inverted: bool) -> None:
    mask = io.BytesIO()
    Image.linear_gradient("L").resize((64, 64)).save(mask, format="PNG")
    fields = {"init_images": [encode_picture()], "mask": base64.b64encode(mask.getvalue()).decode()}
    answer = http.post("img2img", json=IMG2IMG | fields | {"inpainting_mask_invert": is_inverted})
    (image,) = read_pictures(answer)
    assert image.size == (64, 64)
    assert "Mask blur: 4" in json.loads(answer.json()["info"])["infotexts"][0]


@pytest.mark.parametrize("fields", [EXTRAS, {}, {"model": "clip"}], ids=["upscaled", "alone", "with an unknown field"])
def test_extras(http: httpx.Client, fields: dict[str, Any]) -> None:
    answer = http.post("extra-single-image", json=fields | {"image": encode_picture()})
    assert answer.status_code == 200
    with Image.open(io.BytesIO(base64.b64decode(answer.json()["image"]))) as image:
        assert image.size == ((128, 128) if "upscaler_1" in fields else (64, 64))


def test_an_option_of_the_page_is_kept(http: httpx.Client) -> None:
    before = http.get("options").json()["send_seed"]
    try:
        assert http.post("options", json={"send_seed": not before}).status_code == 200
        assert http.get("options").json()["send_seed"] == (not before)
    finally:
        http.post("options", json={"send_seed": before})
    assert http.get("options").json()["send_seed"] == before


@pytest.mark.parametrize(
    "name",
    [
        "cmd-flags", "samplers", "upscalers", "sd-models", "hypernetworks", "face-restorers", "realesrgan-models",
        "prompt-styles", "embeddings",
    ],
)  # fmt: skip
def test_lists(http: httpx.Client, name: str) -> None:
    assert http.get(name).status_code == 200


@pytest.mark.parametrize(
    ("route", "fields", "field"),
    [
        ("img2img", {"enable_hr": True}, "enable_hr"),
        ("txt2img", {"tiling": True}, "tiling"),
        ("txt2img", {"restore_faces": True}, "restore_faces"),
        ("txt2img", {"sampler_index": "PLMS"}, "sampler_name"),
        ("img2img", {"script_name": "sd upscale", "script_args": ["", 8, "Lanczos", 2.0]}, "script_name"),
    ],
)
def test_what_the_studio_does_not_have_is_refused_by_name(
    http: httpx.Client, route: str, fields: dict[str, Any], field: str
) -> None:
    body = TXT2IMG if route == "txt2img" else IMG2IMG | {"init_images": [encode_picture()]}
    answer = http.post(route, json=body | fields)
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_request" and answer.json()["detail"].startswith(f"{field}: must be ")


def test_each_field_may_have_its_default(http: httpx.Client) -> None:
    read_pictures(http.post("txt2img", json=TXT2IMG_DEFAULTS | SMALL))
    read_pictures(http.post("txt2img", json=WIKI_EXAMPLE | SMALL))
    read_pictures(http.post("img2img", json=IMG2IMG_DEFAULTS | SMALL | {"init_images": [encode_picture()]}))
    missing = http.post("img2img", json=IMG2IMG_DEFAULTS | {"init_images": None})
    assert missing.status_code == 400 and missing.json()["detail"] == "init_images: must hold one picture"
