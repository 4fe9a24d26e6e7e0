"""Fields of AUTOMATIC1111's web UI become a GenerationRequest, or one error that names the field."""

from __future__ import annotations

import asyncio
import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from safetensors.numpy import save_file

from imagegen.api.a1111.lists import list_embeddings
from imagegen.api.a1111.requests import (
    Img2ImgBody,
    Txt2ImgBody,
    convert_a1111_request,
    list_ignored_fields,
    report_a1111_field_names,
)
from imagegen.errors import InvalidRequest
from imagegen.media.metadata.infotext import parse_infotext
from imagegen.schema.base import User
from imagegen.schema.request import GenerationRequest
from imagegen.schema.validation import describe_validation_error
from imagegen.service import Service
from imagegen.settings import Settings
from imagegen.storage.files import ImageStore
from imagegen.storage.storage import Storage
from tests.doubles import ScriptedWorker, make_library
from tests.unit.settled_service import SettledService

ANN, BEN = User(id="ann"), User(id="ben")

# What webuiapi 0.9.17 sends for a prompt alone.
WEBUIAPI = {
    "enable_hr": False, "hr_scale": 2, "hr_upscaler": "Latent", "hr_second_pass_steps": 0, "hr_resize_x": 0,
    "hr_resize_y": 0, "hr_checkpoint_name": None, "hr_sampler_name": None, "hr_scheduler": None, "hr_prompt": "",
    "hr_negative_prompt": "", "denoising_strength": 0.7, "firstphase_width": 0, "firstphase_height": 0,
    "prompt": "a red circle", "styles": [], "seed": -1, "subseed": -1, "subseed_strength": 0.0,
    "seed_resize_from_h": 0, "seed_resize_from_w": 0, "batch_size": 1, "n_iter": 1, "steps": 20, "cfg_scale": 7.0,
    "width": 512, "height": 512, "restore_faces": False, "tiling": False, "do_not_save_samples": False,
    "do_not_save_grid": False, "negative_prompt": "", "eta": 1.0, "s_churn": 0, "s_tmax": 0, "s_tmin": 0, "s_noise": 1,
    "override_settings": {}, "override_settings_restore_afterwards": True, "sampler_name": "Euler a",
    "scheduler": "automatic", "sampler_index": "Euler a", "script_name": None, "script_args": [], "send_images": True,
    "save_images": False, "alwayson_scripts": {},
}  # fmt: skip


HR = {"enable_hr": True, "width": 512, "height": 512}


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return SettledService(
        Settings(data_dir=tmp_path),
        make_library(tmp_path),
        Storage(tmp_path / "jobs.sqlite"),
        ImageStore(tmp_path),
        ScriptedWorker(),
    )


def parse_a1111_request(
    service: Service, fields: dict[str, Any], body: Any = Txt2ImgBody, user: User = ANN
) -> GenerationRequest:
    """Maps fields as the route does."""
    try:
        body_model = body(**fields)
    except ValidationError as error:
        raise InvalidRequest(
            *describe_validation_error(error.errors(include_url=False, include_input=False)[0])
        ) from None
    with report_a1111_field_names(body_model.alwayson_scripts):
        return asyncio.run(convert_a1111_request(service, body_model, user))


def find_ignored(service: Service, body: Any = Txt2ImgBody, **fields: Any) -> tuple[str, ...]:
    return list_ignored_fields(service, body(prompt="a red circle", **fields))


def parse_drawing(service: Service, **fields: Any) -> dict[str, Any]:
    """The fields of a request other than the prompt and the model."""
    return parse_a1111_request(service, {"prompt": "a red circle", **fields}).model_dump(
        exclude_defaults=True, exclude={"prompt", "model"}
    )


def refusal(service: Service, body: Any = Txt2ImgBody, **fields: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        parse_a1111_request(service, {"prompt": "a red circle", **fields}, body)
    return str(caught.value)


def picture(width: int, height: int) -> str:
    buffer = BytesIO()
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (0, 0, width // 2, height))
    image.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


POOR, MK2 = "Poor man's outpainting", "Outpainting mk2"
EXTENSIONS = {
    "all sides": (POOR, None, {"left": 128, "right": 128, "top": 128, "bottom": 128}),
    "two sides": (POOR, [64, 4, 0, ["left", "up"]], {"left": 64, "top": 64}),
    "as the page has it": (POOR.lower(), ["96", 4, "fill", ["down"]], {"bottom": 96}),
    "mk2": (MK2, ["", 32, 8, ["right"], 1.0, 0.05], {"right": 32}),
    "fewer arguments": (MK2, [None, 8], {"left": 8, "right": 8, "top": 8, "bottom": 8}),
}


@pytest.mark.parametrize(("name", "arguments", "sides"), EXTENSIONS.values(), ids=EXTENSIONS)
def test_scripts_extend_the_start_image(
    service: Service, name: str, arguments: list[Any] | None, sides: dict[str, int]
) -> None:
    fields = {"script_name": name, "script_args": arguments, "width": 512, "height": 512, "denoising_strength": 0.8}
    body = {"prompt": "a", "init_images": [picture(96, 64)], **fields}
    request = parse_a1111_request(service, body, Img2ImgBody)
    expected = {"left": 0, "right": 0, "top": 0, "bottom": 0} | sides
    assert {side: getattr(request, f"extend_{side}") for side in expected} == expected
    assert (request.task, request.width, request.height, request.strength) == ("outpainting", None, None, 0.8)
    with Image.open(service.images.input_path(str(request.init_image))) as stored:
        assert stored.size == (96, 64)
    assert find_ignored(service, Img2ImgBody, init_images=[picture(8, 8)], **fields) == ("width", "height")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"script_name": "SD upscale"}, "script_name: must be one of Outpainting mk2, Poor man's outpainting"),
        ({"script_name": 5}, "script_name: must be one of"),
        ({"script_args": "x"}, "script_args: must be a list: pixels, mask_blur"),
        ({"script_args": [8] * 5}, "script_args: must have at most 4 entries"),
        ({"script_args": [0]}, "script_args.pixels: must be a whole number from 1 to 1024"),
        ({"script_args": [8.5]}, "script_args.pixels: must be a whole number"),
        ({"script_args": [8, 12]}, "script_args.mask_blur: must be 4"),
        ({"script_args": [8, 4, 2]}, "script_args.inpainting_fill: must be 0 or fill"),
        ({"script_args": [8, 4, 0, []]}, "script_args.direction: must be a list of at least one of left, right"),
        ({"script_args": [8, 4, 0, ["north"]]}, "script_args.direction: must be"),
        ({"script_args": [8, 4, 0, [["left"]]]}, "script_args.direction: must be"),
        ({"script_name": MK2, "script_args": ["", 8, 8, ["left"], 2]}, "script_args.noise_q: must be 1"),
        ({"script_name": MK2, "script_args": ["", 8, 8, ["left"], 1, 1]}, "script_args.color_variation: must be 0.05"),
        ({"mask": picture(96, 64)}, "mask: must be left out with script_name"),
        (
            {"alwayson_scripts": {"controlnet": {"args": [{"module": "canny", "model": "studio-edges"}]}}},
            "alwayson_scripts.controlnet.args[0].image: is required",
        ),
    ],
)
def test_what_a_script_cannot_do_here_is_refused_by_the_name_of_its_argument(
    service: Service, fields: dict[str, Any], message: str
) -> None:
    found = refusal(service, Img2ImgBody, **{"init_images": [picture(96, 64)], "script_name": POOR} | fields)
    assert found.startswith(message)


def test_what_webuiapi_sends_every_time_is_understood(service: Service) -> None:
    assert parse_a1111_request(service, WEBUIAPI) == GenerationRequest(
        prompt="a red circle", width=512, height=512, steps=20, guidance_scale=7, sampler="Euler a", model="embedded"
    )


@pytest.mark.parametrize(
    ("fields", "ours"),
    [
        ({}, {}),
        ({"width": None, "steps": None, "seed": None, "cfg_scale": None}, {}),
        ({"seed": -1}, {}),
        ({"seed": 0}, {"seed": 0}),
        ({"cfg_scale": 5.5}, {"guidance_scale": 5.5}),
        ({"batch_size": 2, "n_iter": 3}, {"batch_size": 6}),
        ({"sampler_index": "Euler"}, {"sampler": "Euler"}),
        ({"sampler_name": "DDIM", "sampler_index": "Euler"}, {"sampler": "DDIM"}),
        ({"sampler_name": "", "scheduler": ""}, {}),
        ({"clip_skip": 0}, {}),
        ({"clip_skip": 0, "override_settings": {"CLIP_stop_at_last_layers": 1}}, {}),
        ({"clip_skip": 1}, {}),
        ({"clip_skip": 2}, {"clip_skip": 1}),
        ({"override_settings": {"CLIP_stop_at_last_layers": 3}}, {"clip_skip": 2}),
        ({"clip_skip": 2, "override_settings": {"CLIP_stop_at_last_layers": 2}}, {"clip_skip": 1}),
        ({"override_settings": {"sd_vae": "Automatic", "samples_format": "png"}}, {}),
        ({"override_settings": {"samples_format": "jpg", "jpeg_quality": 90}}, {}),
        ({"override_settings": {"foo": 1, "eta_ancestral": 1.0, "eta_ddim": 0}}, {}),
        ({"override_settings": None}, {}),
        ({"foo": {"bar": [1]}, "selection_info": {"left": 0}}, {}),
        ({"more_prompts": [], "step_cache": 0, "guidance_scale": 2, "sampler": "DDIM"}, {}),
        ({"styles": []}, {}),
        ({"styles": ["noir"]}, {}),
        ({"model": "embedded"}, {}),
        ({"model": "sd_xl_base_1.0.safetensors"}, {}),
        ({"script_name": "None", "script_args": [1, "x"]}, {}),
        ({"alwayson_scripts": {}}, {}),
        ({"alwayson_scripts": {"ControlNet": {"args": []}, "Refiner": {}, "Seed": {"args": None}}}, {}),
        ({"alwayson_scripts": {"ADetailer": {"args": [False, {"ad_model": "face_yolov8n.pt"}]}}}, {}),
        ({"alwayson_scripts": {"controlnet": {"args": [{"enabled": False, "module": "canny"}]}}}, {}),
        (
            {"seed": "7", "steps": "4", "cfg_scale": "5.5", "width": " 128", "batch_size": "2"},
            {
                "seed": 7,
                "steps": 4,
                "guidance_scale": 5.5,
                "width": 128,
                "batch_size": 2,
            },
        ),
        ({"seed": "-1"}, {}),
        ({"eta": 0}, {}),
        ({"eta": 0.5}, {}),
        ({"sampler_index": "Euler a", "eta": 0}, {"sampler": "Euler"}),
        ({"subseed": -1, "subseed_strength": 0.5}, {"variation_strength": 0.5}),
        ({"subseed": "9", "subseed_strength": "0.5"}, {"variation_seed": 9, "variation_strength": 0.5}),
        ({"subseed": None, "subseed_strength": None, "seed_resize_from_h": -1, "seed_resize_from_w": 0}, {}),
        ({"variation_seed": None, "variation_strength": 0}, {}),
        ({"hr_scale": 4, "denoising_strength": 9, "url": "http://me", "auth": "me:secret"}, {}),
    ],
)
def test_fields_become_ours(service: Service, fields: dict[str, Any], ours: dict[str, Any]) -> None:
    assert parse_drawing(service, **fields) == ours


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"more_prompts": ["a cat"]}, "more_prompts: is not a field of this API"),
        ({"step_cache": 0.5}, "step_cache: is not a field of this API"),
        ({"prompt": 5}, "prompt: should be a valid string"),
        ({"prompt": "a\0b"}, "prompt: must not contain the character U+0000"),
        ({"cfg_scale": 0}, "cfg_scale: must be between 1 and 30"),
        ({"steps": 999}, "steps: must be between 1 and 150"),
        ({"width": 100}, "width: must be a multiple of 8, such as 96"),
        ({"seed": -2}, "seed: must be between 0 and 4294967295"),
        ({"sampler_name": "LMS"}, "sampler_name: must be one of Euler, Euler a, DDIM, DPM++ 2M"),
        (
            {"sampler_name": "Euler", "scheduler": "karras"},
            "scheduler: must be automatic or uniform, unless sampler_name is DPM++ 2M or DPM++ 2M SDE",
        ),
        ({"scheduler": "sgm_uniform"}, "scheduler: must be one of automatic, uniform, karras"),
        ({"n_iter": 9}, "n_iter: must be between 1 and 8"),
        ({"batch_size": 3, "n_iter": 3}, "batch_size: times n_iter must be at most 8, not 9"),
        ({"clip_skip": 4}, "clip_skip: must be 1, 2 or 3"),
        ({"steps": "many"}, "steps: must be a number"),
        ({"seed": "9" * 30}, "seed: must be a number"),
        ({"clip_skip": True}, "clip_skip: must be 1, 2 or 3"),
        ({"override_settings": {"CLIP_stop_at_last_layers": 12}}, "CLIP_stop_at_last_layers: must be 1, 2 or 3"),
        ({"clip_skip": 1, "override_settings": {"CLIP_stop_at_last_layers": 2}}, "clip_skip: must be the same as"),
        ({"override_settings": {"sd_model_checkpoint": "x"}}, "sd_model_checkpoint: there is no 'x' here. It can be"),
        ({"override_settings": {"sd_model_checkpoint": "sd-1.5"}}, "sd_model_checkpoint: sd-1.5 is not on disk yet"),
        ({"override_settings": {"sd_model_checkpoint": 5}}, "sd_model_checkpoint: should be a valid string"),
        ({"override_settings": {"samples_format": "gif"}}, "override_settings.samples_format: must be one of 'png'"),
        ({"override_settings": {"jpeg_quality": 0}}, "override_settings.jpeg_quality: must be at least 1"),
        ({"override_settings": {"eta_ancestral": 0.5}}, "override_settings.eta_ancestral: must be 1"),
        ({"override_settings": {"tiling": True}}, "override_settings.tiling: must be false"),
        ({"override_settings": {"sd_vae": "anime.vae.pt"}}, "sd_vae: anime.vae.pt cannot be used: it is a pickle"),
        ({"prompt": "a <lora:neon:x>"}, "prompt: weight in <lora:name:weight> must be a number"),
        ({"prompt": "a <lora:neon:9>"}, "prompt: weight in <lora:name:weight> must be between -4 and 4"),
        ({"prompt": "a <lora:neon:1:0.5>"}, "prompt: 'neon' may have one weight"),
        ({"prompt": "a <hypernet:x:1>"}, "prompt: must not contain <hypernet:…>"),
        ({"enable_hr": 0}, "enable_hr: should be a valid boolean"),
        (HR | {"hr_scale": 1}, "hr_scale: must be greater than 1"),
        (HR | {"hr_scale": 5}, "hr_scale: must be between 1 and 4"),
        (HR | {"hr_second_pass_steps": 151}, "hr_second_pass_steps: must be between 0 and 150"),
        (HR | {"denoising_strength": 0}, "denoising_strength: must be greater than 0"),
        (HR | {"hr_resize_x": 100}, "hr_resize_x: must be more than 512 and at most 2048, or 0"),
        (HR | {"hr_resize_x": 1024, "hr_resize_y": 768}, "hr_resize_y: must be in the proportions"),
        (HR | {"hr_sampler_name": "DDIM"}, "hr_sampler_name: must be left out: the second pass"),
        (HR | {"hr_prompt": "another"}, "hr_prompt: must be left out: the second pass"),
        (HR | {"hr_cfg": 3, "cfg_scale": 4}, "hr_cfg: must be cfg_scale"),
        ({"firstphase_width": 64}, "firstphase_width: must be 0"),
        ({"subseed": -2}, "subseed: must be between 0 and 4294967295"),
        ({"subseed": "x"}, "subseed: must be a number"),
        ({"subseed_strength": 1.5}, "subseed_strength: must be between 0 and 1"),
        ({"subseed_strength": True}, "subseed_strength: must be a number"),
        ({"seed_resize_from_w": 64}, "seed_resize_from_w: must be 0 or -1"),
        ({"seed_resize_from_h": 64}, "seed_resize_from_h: must be 0 or -1"),
        ({"tiling": True}, "tiling: must be false"),
        ({"restore_faces": True}, "restore_faces: must be false"),
        ({"sampler_name": "Euler a", "eta": 0.5}, "eta: must be 0 or 1 with the sampler Euler a"),
        ({"eta": True}, "eta: must be a number"),
        ({"eta": "much"}, "eta: must be a number"),
        ({"s_churn": 1}, "s_churn: must be 0"),
        ({"s_noise": 1.1}, "s_noise: must be 1"),
        ({"refiner_checkpoint": "sdxl-refiner"}, "refiner_checkpoint: must be"),
        ({"script_name": "x/y/z plot"}, "script_name: must be"),
        ({"script_name": "Outpainting mk2"}, "script_name: must be"),
        (
            {"alwayson_scripts": {"ADetailer": {"args": "on"}}},
            "alwayson_scripts.ADetailer: must have a list",
        ),
        (
            {"alwayson_scripts": {"controlnet": {"args": [{"module": "canny"}]}}},
            "alwayson_scripts.controlnet.args[0].image: is required",
        ),
        ({"alwayson_scripts": {"controlnet": {"args": {"enabled": True}}}}, "alwayson_scripts: must have a list"),
        (
            {"alwayson_scripts": {"Seed": 5}},
            "alwayson_scripts: must have no arguments for 'Seed': the scripts here are adetailer, controlnet",
        ),
        ({"alwayson_scripts": [1]}, "alwayson_scripts: should be a valid dictionary"),
    ],
)
def test_errors_use_the_field_names_of_a1111(service: Service, fields: dict[str, Any], message: str) -> None:
    assert refusal(service, **fields).startswith(message)


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ({"module": "canny", "threshold_a": 50}, "threshold_a: must be 100"),
        ({"module": "tile_resample", "threshold_a": 4}, "threshold_a: must be 8 for tile_resample"),
        ({"module": "mlsd"}, "module: must be one of none, canny"),
        ({"control_mode": 3}, "control_mode: must be one of Balanced"),
        ({"union_control_type": "Inpaint"}, "union_control_type: must be one of Unknown, All, OpenPose"),
        ({"resize_mode": 2}, "resize_mode: must be one of Just Resize"),
        ({"mask": "x"}, "mask: cannot be used here"),
        ({"image": 5}, "image: must be a picture in base64"),
        ({"model": "None"}, "model: is required"),
        ({"guidance_start": 0.9, "guidance_end": 0.2}, "guidance_end: must be greater than start"),
    ],
)
def test_what_a_control_unit_cannot_ask_for_is_named(service: Service, unit: dict[str, Any], message: str) -> None:
    args = [{"image": picture(64, 64), "model": "edges"} | unit]
    found = refusal(service, alwayson_scripts={"controlnet": {"args": args}})
    assert found.startswith(f"alwayson_scripts.controlnet.args[0].{message}")


IP_ADAPTER = {"module": "ip-adapter_clip_h", "model": "style [0a1b2c3d]", "weight": 0.5}


def test_a_unit_that_is_an_ip_adapter_becomes_a_reference_picture(service: Service) -> None:
    control = {"image": picture(64, 64), "model": "edges"}
    args = [{"enabled": False}, {"image": picture(32, 32)} | IP_ADAPTER, control]
    request = parse_a1111_request(service, {"prompt": "a", "alwayson_scripts": {"controlnet": {"args": args}}})
    (reference,), (followed,) = request.references, request.controls
    assert (reference.ip_adapter, reference.weight, followed.controlnet) == ("style", 0.5, "edges")
    assert reference.image != followed.image


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        ({"guidance_end": 0.5}, "guidance_end: must be 1 for an IP-Adapter"),
        ({"control_mode": 1}, "control_mode: must be Balanced for an IP-Adapter"),
        ({"image": None}, "image: is required"),
        ({"model": None}, "model: is required"),
        ({"weight": 3}, "weight: must be between 0 and 2"),
        ({"mask": "x"}, "mask: cannot be used here"),
    ],
)
def test_what_an_ip_adapter_cannot_do_is_named_with_the_unit(
    service: Service, unit: dict[str, Any], message: str
) -> None:
    args = [{"enabled": False}, {"image": picture(32, 32)} | IP_ADAPTER | unit]
    found = refusal(service, alwayson_scripts={"controlnet": {"args": args}})
    assert found.startswith(f"alwayson_scripts.controlnet.args[1].{message}")


def test_too_many_ip_adapters_are_refused_before_a_picture_is_stored(service: Service) -> None:
    found = refusal(service, alwayson_scripts={"controlnet": {"args": [IP_ADAPTER] * 5}})
    assert found == "alwayson_scripts: must have at most 4 units that are IP-Adapters"


def test_too_many_control_units_are_refused_before_a_picture_is_stored(service: Service) -> None:
    args = [{"image": "no picture", "model": "edges"}] * 5
    found = refusal(service, alwayson_scripts={"controlnet": {"args": args}})
    assert found == "alwayson_scripts: must have at most 4 units that are switched on"


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ({}, {"preprocessor": "none"}),
        ({"module": "Canny", "threshold_a": 100, "threshold_b": -1}, {"preprocessor": "canny"}),
        ({"module": "tile_resample"}, {"preprocessor": "none"}),
        ({"module": "tile_resample", "threshold_a": 8}, {"preprocessor": "tile"}),
        ({"module": "invert (from white bg & black line)"}, {"preprocessor": "invert"}),
        ({"model": "edges [0a1b2c3d]", "weight": 0.5}, {"controlnet": "edges", "weight": 0.5}),
        ({"control_mode": 2}, {"mode": "control"}),
        ({"guidance_start": 0.25, "guidance_end": 0.5}, {"start": 0.25, "end": 0.5}),
        ({"image": {"image": picture(64, 64), "mask": None}, "low_vram": True, "pixel_perfect": True}, {}),
    ],
    ids=str,
)
def test_a_control_unit_becomes_a_control(service: Service, unit: dict[str, Any], expected: dict[str, Any]) -> None:
    args = [{"image": picture(64, 64), "model": "edges"} | unit, {"enabled": False}]
    request = parse_a1111_request(
        service, {"prompt": "a", "alwayson_scripts": {"ControlNet": {"args": args}}}, Txt2ImgBody
    )
    (control,) = request.controls
    assert {name: getattr(control, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"init_images": []}, "init_images: must hold one picture"),
        ({"init_images": None}, "init_images: must hold one picture"),
        ({"init_images": [picture(8, 8)] * 2}, "init_images: must hold one picture"),
        ({"init_images": ["nonsense"]}, "init_images: must be a"),
        ({"denoising_strength": 0}, "denoising_strength: must be greater than 0 and at most 1"),
        ({"mask": picture(16, 8)}, "mask: must have the size of the start image"),
        ({"mask": 5}, "mask: must be a picture in base64"),
        ({"mask": picture(8, 8), "mask_blur": 65}, "mask_blur: must be between 0 and 64"),
        ({"mask": picture(8, 8), "mask_blur_x": 2}, "mask_blur_x: must be the same as mask_blur_y"),
        ({"mask": picture(8, 8), "inpainting_fill": 4}, "inpainting_fill: must be one of 0, 1, 2, 3"),
        ({"mask": picture(8, 8), "inpaint_full_res": "all"}, "inpaint_full_res: must be one of 0, 1"),
        (
            {"mask": picture(8, 8), "inpaint_full_res_padding": -1},
            "inpaint_full_res_padding: must be between 0 and 512",
        ),
        ({"mask": picture(8, 8), "inpainting_mask_invert": 2}, "inpainting_mask_invert: must be one of 0, 1"),
        ({"mask_round": False}, "mask_round: must be true"),
        ({"latent_mask": picture(8, 8)}, "latent_mask: must be null"),
        ({"initial_noise_multiplier": 0.5}, "initial_noise_multiplier: must be 1"),
        ({"resize_mode": 2}, "resize_mode: must be 0, which stretches the picture, or 1"),
        ({"resize_mode": 3}, "resize_mode: must be 0, which stretches the picture, or 1"),
    ],
)
def test_so_it_is_with_pictures_to_start_from(service: Service, fields: dict[str, Any], message: str) -> None:
    fields = {"init_images": [picture(8, 8)], **fields}
    assert refusal(service, Img2ImgBody, **fields).startswith(message)


@pytest.mark.parametrize(
    ("mode", "size", "stored"),
    [(0, (128, 128), (128, 128)), (0, (128, 64), (40, 20)), (0, (None, None), (256, 256)), (1, (128, 128), (40, 20))],
    ids=["stretched", "of the same proportion", "to the model's size", "cut off by the engine"],
)
def test_a_picture_is_stretched_on_request(
    service: Service, mode: int, size: tuple[int | None, int | None], stored: tuple[int, int]
) -> None:
    fields = {"prompt": "x", "init_images": [f"data:image/png;base64,{picture(40, 20)}"], "resize_mode": mode}
    made = parse_a1111_request(
        service, {**fields, "width": size[0], "height": size[1], "denoising_strength": 0.5}, Img2ImgBody
    )
    assert made.strength == 0.5 and made.init_image is not None
    with Image.open(service.images.input_path(made.init_image)) as image:
        assert image.size == stored


def test_the_model_is_the_one_that_the_caller_chose_unless_the_request_names_another(service: Service) -> None:
    asyncio.run(service.set_model_choice("sd-1.5", ANN))
    assert refusal(service).startswith("sd_model_checkpoint: sd-1.5 is not on disk")
    for title in ("embedded", "Embedded", "embedded [6ce0161689]"):
        assert (
            parse_a1111_request(service, {"prompt": "x", "override_settings": {"sd_model_checkpoint": title}}).model
            == "embedded"
        )
    assert parse_a1111_request(service, {"prompt": "x"}, user=BEN).model == "embedded"
    assert parse_a1111_request(service, {"prompt": "x", "model": "embedded-fast"}).model == "embedded-fast"


def test_a_model_is_chosen_by_the_hash_of_its_weights(service: Service) -> None:
    manager = service.model_manager
    sha256 = manager.compute_model_sha256(manager.resolve_model("embedded")[1])
    assert sha256 is not None
    for title in (sha256, sha256[:10], sha256[:10].upper()):
        sent = {"prompt": "x", "override_settings": {"sd_model_checkpoint": title}}
        assert parse_a1111_request(service, sent).model == "embedded"
    assert refusal(service, override_settings={"sd_model_checkpoint": "0" * 10}).startswith("sd_model_checkpoint: ")


@pytest.mark.parametrize("fields", [{}, {"prompt": ""}, {"prompt": None}, {"prompt": "<lora:neon:0.5>"}])
def test_a_prompt_may_be_missing(service: Service, fields: dict[str, Any]) -> None:
    assert parse_a1111_request(service, fields).prompt.strip() == ""


def test_ignored_fields_are_named(service: Service) -> None:
    sent = {"foo": 1, "hr_scale": 2, "url": "http://me", "override_settings": {"sd_vae": "Automatic", "bar": 1}}
    assert find_ignored(service, **sent) == ("foo", "override_settings.bar")
    assert find_ignored(service, styles=["noir"], model="nothing", mode="txt2img") == ("styles", "model", "mode")
    assert find_ignored(service, styles=[], model="embedded") == ()
    assert find_ignored(service, Img2ImgBody, init_images=[picture(8, 8)], mask_blur=4) == ()


def test_of_many_ignored_fields_some_are_named_in_short(service: Service) -> None:
    ignored = find_ignored(service, **{f"{number:03}{'ü' * 200}": 1 for number in range(500)})
    assert len(ignored) == 50 and all(len(name) == 60 for name in ignored)


def test_a_lora_in_the_prompt_is_applied(service: Service) -> None:
    made = parse_a1111_request(service, {"prompt": "a cat <lora:neon:0.5>"})
    assert made.prompt == "a cat"
    assert [(use.lora, use.weight) for use in made.loras] == [("neon", 0.5)]


def test_embeddings_on_disk_that_fit_are_listed_and_used(service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "embeddings"
    folder.mkdir(parents=True)
    for word, width in (("calm", 128), ("wide", 768)):
        save_file({word: np.zeros((3, width), np.float32)}, folder / f"{word}.safetensors")
    listed = list_embeddings(service.model_manager, "embedded")
    assert listed.loaded.keys() == {"calm"} and listed.skipped.keys() == {"wide"}
    assert (listed.loaded["calm"].shape, listed.loaded["calm"].vectors) == (128, 3)
    made = parse_a1111_request(service, {"prompt": "a wide lake", "negative_prompt": "not Calm"})
    assert made.embeddings == ("calm",)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("a cat\nSteps: 4, Seed: 1", {"Prompt": "a cat\nSteps: 4, Seed: 1", "Negative prompt": ""}),
        (
            'a cat\nin two lines\nNegative prompt: a dog\nSteps: 4, Size: 64x128, Note: "a: b, \\"c\\"", Clip skip: 2',
            {
                "Prompt": "a cat\nin two lines",
                "Negative prompt": "a dog",
                "Steps": "4",
                "Size-1": "64",
                "Size-2": "128",
                "Note": 'a: b, "c"',
                "Clip skip": "2",
            },
        ),
    ],
)
def test_settings_are_read_as_other_tools_write_them(text: str, found: dict[str, str]) -> None:
    meant = {"Clip skip": "1", "RNG": "GPU"} if text else {}
    assert parse_infotext(text) == meant | found


def test_a_second_pass_is_that_of_the_studio(service: Service) -> None:
    assert parse_drawing(service, enable_hr=True, hr_second_pass_steps="4", hr_upscaler="Lanczos", width=256) == {
        "width": 256, "hires_scale": 2, "hires_steps": 4, "hires_strength": 0.75, "hires_upscaler": "Lanczos",
    }  # fmt: skip
    to_size = parse_drawing(service, **HR | {"width": 256, "height": 384, "hr_resize_x": 384, "hr_resize_y": 576})
    assert to_size["hires_scale"] == 1.5
    assert parse_drawing(service, **WEBUIAPI | {"hr_upscaler": "no such thing", "hr_prompt": "x"})


def test_an_upscaler_of_a_second_pass_must_be_there(service: Service) -> None:
    request = parse_a1111_request(service, {"prompt": "x", "hr_upscaler": "ESRGAN_4x", "enable_hr": True})
    with (
        pytest.raises(InvalidRequest, match="hr_upscaler: there is no 'ESRGAN_4x' here. It can be Lanczos"),
        report_a1111_field_names(),
    ):
        service.model_manager.resolve_upscalers(request)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([{"ad_model": "face_yolov8n.pt"}], {"detail_detector": "faces", "detail_strength": 0.4, "detail_padding": 32}),
        ([True, False, {"ad_model": "mediapipe_face_full", "ad_prompt": "a nose"}], {"detail_prompt": "a nose"}),
        ([True, {"ad_model": "None"}, {"ad_model": "faces", "ad_confidence": "0.6"}], {"detail_confidence": 0.6}),
        ([{"ad_model": "faces", "ad_tab_enable": False}, {"ad_model": "Faces"}], {"detail_detector": "faces"}),
        ([{"ad_model": "faces", "ad_denoising_strength": 0.5, "ad_mask_k": 0}], {"detail_strength": 0.5}),
        ([{"ad_model": "faces", "ad_inpaint_only_masked_padding": 8}], {"detail_padding": 8}),
        ([{"ad_model": "faces", "ad_model_classes": "face"}], {"detail_label": "face"}),
        ([False, {"ad_model": "faces", "ad_dilate_erode": 9}], {"detail_detector": None}),
        ([True], {"detail_detector": None}),
        (None, {"detail_detector": None}),
    ],
    ids=str,
)
def test_a_tab_of_adetailer_becomes_fields_for_details(service: Service, args: Any, expected: dict[str, Any]) -> None:
    body = {"prompt": "a", "alwayson_scripts": {"ADetailer": {"args": args}}}
    request = parse_a1111_request(service, body, Txt2ImgBody)
    assert {name: getattr(request, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("tab", "message"),
    [
        ({"ad_dilate_erode": 9}, "ad_dilate_erode: must be 4 or left out"),
        ({"ad_use_checkpoint": True, "ad_checkpoint": "x"}, "ad_use_checkpoint: must be False"),
        ({"ad_negative_prompt": "ugly"}, "ad_negative_prompt: must be ''"),
        ({"ad_prompt": "a [SEP] b"}, "ad_prompt: must not contain [SEP]"),
        ({"ad_prompt": "a <lora:neon:1>"}, "ad_prompt: must not contain LoRAs"),
        ({"ad_denoising_strength": 2}, "ad_denoising_strength: must be greater than 0 and at most 1"),
        ({"ad_confidence": "much"}, "ad_confidence: must be a number"),
        ({"ad_model": 5}, "ad_model: should be a valid string"),
    ],
    ids=str,
)
def test_what_a_tab_of_adetailer_cannot_ask_for_is_named(service: Service, tab: dict[str, Any], message: str) -> None:
    found = refusal(service, alwayson_scripts={"ADetailer": {"args": [True, {"ad_model": "faces"} | tab]}})
    assert found.startswith(f"alwayson_scripts.ADetailer.{message}")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([{"ad_model": "faces"}, {"ad_model": "faces"}], "must have at most one tab"),
        ([True, True, {"ad_model": "faces"}], "must not skip img2img"),
        ({"ad_model": "faces"}, "must have a list of objects"),
    ],
    ids=str,
)
def test_what_adetailer_cannot_ask_for_is_named(service: Service, args: Any, message: str) -> None:
    found = refusal(service, alwayson_scripts={"ADetailer": {"args": args}})
    assert found.startswith(f"alwayson_scripts.ADetailer: {message}")


def test_the_name_of_a_field_for_details_is_told(service: Service) -> None:
    found = refusal(service, detail_detector="faces")
    assert found == "alwayson_scripts.ADetailer.ad_model: must be used instead of detail_detector"
