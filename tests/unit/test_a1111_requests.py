"""What AUTOMATIC1111's web UI takes becomes a request of ours, or one line that names its field."""

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

from imagegen.api.a1111.infotext import parameters
from imagegen.api.a1111.lists import embeddings
from imagegen.api.a1111.networks import called_up, networks
from imagegen.api.a1111.requests import DrawingBody, RepaintingBody, in_their_names, request
from imagegen.api.a1111.samplers import sampler
from imagegen.errors import InvalidRequest
from imagegen.images import ImageStore
from imagegen.info import AdapterInfo
from imagegen.jobs import JobStore
from imagegen.schema import GenerationRequest, User
from imagegen.service import Service
from imagegen.settings import Settings
from imagegen.validation import first_problem
from tests.doubles import ScriptedWorker, library

ANN, BEN = User(id="ann"), User(id="ben")

# What webuiapi 0.9.17 sends when it is told a prompt alone.
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


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(
        Settings(data_dir=tmp_path),
        library(tmp_path),
        JobStore(tmp_path / "jobs.sqlite"),
        ImageStore(tmp_path),
        ScriptedWorker(),
    )


def parsed(service: Service, fields: dict[str, Any], body: Any = DrawingBody, user: User = ANN) -> GenerationRequest:
    """As the route does it."""
    try:
        asked = body(**fields)
    except ValidationError as error:
        raise InvalidRequest(*first_problem(error.errors(include_url=False, include_input=False)[0])) from None
    with in_their_names():
        return asyncio.run(request(service, asked, user))


def drawn(service: Service, **fields: Any) -> dict[str, Any]:
    """What a request says beyond the prompt and the model."""
    return parsed(service, {"prompt": "a red circle", **fields}).model_dump(
        exclude_defaults=True, exclude={"prompt", "model"}
    )


def refusal(service: Service, body: Any = DrawingBody, **fields: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        parsed(service, {"prompt": "a red circle", **fields}, body)
    return str(caught.value)


def picture(width: int, height: int) -> str:
    buffer = BytesIO()
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (0, 0, width // 2, height))
    image.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def test_what_webuiapi_sends_every_time_is_understood(service: Service) -> None:
    assert parsed(service, WEBUIAPI) == GenerationRequest(
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
        ({"clip_skip": 1}, {}),
        ({"clip_skip": 2}, {"clip_skip": 1}),
        ({"override_settings": {"CLIP_stop_at_last_layers": 3}}, {"clip_skip": 2}),
        ({"clip_skip": 2, "override_settings": {"CLIP_stop_at_last_layers": 2}}, {"clip_skip": 1}),
        ({"override_settings": {"sd_vae": "Automatic", "samples_format": "png"}}, {}),
        ({"override_settings": None}, {}),
        ({"subseed": 99, "hr_scale": 4, "denoising_strength": 9, "url": "http://me", "auth": "me:secret"}, {}),
    ],
)
def test_fields_become_ours(service: Service, fields: dict[str, Any], ours: dict[str, Any]) -> None:
    assert drawn(service, **fields) == ours


@pytest.mark.parametrize(
    ("name", "scheduler", "ours"),
    [
        (None, None, None),
        ("Euler a", "automatic", "Euler a"),
        ("k_euler_a", "Automatic", "Euler a"),
        ("euler A", None, "Euler a"),
        ("DPM++ 2M", "Automatic", "DPM++ 2M"),
        ("DPM++ 2M", "karras", "DPM++ 2M Karras"),
        ("DPM++ 2M Karras", "automatic", "DPM++ 2M Karras"),
        ("DPM++ 2M Karras", "Karras", "DPM++ 2M Karras"),
        ("DPM++ 2M SDE", "Karras", "DPM++ 2M SDE Karras"),
        ("unipc", "", "UniPC"),
        ("k_lcm", "", "LCM"),
        ("ddim", None, "DDIM"),
    ],
)
def test_samplers_and_schedulers(name: str | None, scheduler: str | None, ours: str | None) -> None:
    assert sampler(name, scheduler) == ours


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"foo": 1}, "foo: is not a field of a request"),
        ({"prompt": ""}, "prompt: must not be empty"),
        ({"cfg_scale": 0}, "cfg_scale: must be between 1 and 30"),
        ({"steps": 999}, "steps: must be between 1 and 150"),
        ({"width": 100}, "width: must be a multiple of 8, such as 96"),
        ({"seed": -2}, "seed: must be between 0 and 4294967295"),
        ({"sampler_name": "LMS"}, "sampler_name: must be one of Euler, Euler a, DDIM, DPM++ 2M"),
        (
            {"sampler_name": "Euler", "scheduler": "karras"},
            "scheduler: must be automatic, unless sampler_name is DPM++",
        ),
        ({"scheduler": "sgm_uniform"}, "scheduler: must be one of automatic, karras"),
        ({"n_iter": 9}, "n_iter: must be between 1 and 8"),
        ({"batch_size": 3, "n_iter": 3}, "batch_size: times n_iter must be at most 8, not 9"),
        ({"clip_skip": 0}, "clip_skip: must be 1, 2 or 3"),
        ({"clip_skip": True}, "clip_skip: must be 1, 2 or 3"),
        ({"override_settings": {"CLIP_stop_at_last_layers": 12}}, "CLIP_stop_at_last_layers: must be 1, 2 or 3"),
        ({"clip_skip": 1, "override_settings": {"CLIP_stop_at_last_layers": 2}}, "clip_skip: must be the same as"),
        ({"override_settings": {"sd_model_checkpoint": "x"}}, "sd_model_checkpoint: there is no 'x' here. It can be"),
        ({"override_settings": {"sd_model_checkpoint": "sd-1.5"}}, "sd_model_checkpoint: sd-1.5 is not on disk yet"),
        ({"override_settings": {"sd_model_checkpoint": 5}}, "sd_model_checkpoint: should be a valid string"),
        ({"override_settings": {"foo": 1}}, "override_settings.foo: is not a field"),
        ({"override_settings": {"sd_vae": "anime.vae.pt"}}, "override_settings.sd_vae: must be"),
        ({"prompt": "a <lora:neon:x>"}, "prompt: weight in <lora:name:weight> must be a number"),
        ({"prompt": "a <lora:neon:9>"}, "prompt: weight in <lora:name:weight> must be between -4 and 4"),
        ({"prompt": "a <lora:neon:1:0.5>"}, "prompt: 'neon' may have one weight"),
        ({"prompt": "a <hypernet:x:1>"}, "prompt: must not contain <hypernet:…>"),
        ({"enable_hr": True}, "enable_hr: must be false: pictures are made in one go here"),
        ({"enable_hr": 0}, "enable_hr: must be false"),
        ({"firstphase_width": 64}, "firstphase_width: must be 0"),
        ({"subseed_strength": 0.5}, "subseed_strength: must be 0: there are no variation seeds here"),
        ({"seed_resize_from_w": 64}, "seed_resize_from_w: must be 0 or -1"),
        ({"tiling": True}, "tiling: must be false"),
        ({"restore_faces": True}, "restore_faces: must be false"),
        ({"styles": ["noir"]}, "styles: must be []: there are no styles here"),
        ({"eta": 0.5}, "eta: must be 1"),
        ({"s_churn": 1}, "s_churn: must be 0"),
        ({"s_noise": 1.1}, "s_noise: must be 1"),
        ({"refiner_checkpoint": "sdxl-refiner"}, "refiner_checkpoint: must be"),
        ({"script_name": "x/y/z plot"}, "script_name: must be"),
        ({"alwayson_scripts": {"ADetailer": {"args": [True]}}}, "alwayson_scripts: must be {}: there are no scripts"),
    ],
)
def test_what_is_wrong_is_told_by_its_own_name(service: Service, fields: dict[str, Any], message: str) -> None:
    assert refusal(service, **fields).startswith(message)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"init_images": []}, "init_images: must hold one picture"),
        ({"init_images": [picture(8, 8)] * 2}, "init_images: must hold one picture"),
        ({"init_images": ["nonsense"]}, "init_images: must be a"),
        ({"denoising_strength": 0}, "denoising_strength: must be greater than 0 and at most 1"),
        ({"mask": picture(8, 8)}, "mask: must be null: parts of a picture cannot be painted here"),
        ({"initial_noise_multiplier": 0.5}, "initial_noise_multiplier: must be 1"),
        ({"resize_mode": 2}, "resize_mode: must be 0, which stretches the picture, or 1"),
        ({"resize_mode": 3}, "resize_mode: must be 0, which stretches the picture, or 1"),
    ],
)
def test_so_it_is_with_pictures_to_start_from(service: Service, fields: dict[str, Any], message: str) -> None:
    fields = {"init_images": [picture(8, 8)], **fields}
    assert refusal(service, RepaintingBody, **fields).startswith(message)


@pytest.mark.parametrize(
    ("mode", "size", "stored"),
    [(0, (128, 128), (128, 128)), (0, (128, 64), (40, 20)), (0, (None, None), (256, 256)), (1, (128, 128), (40, 20))],
    ids=["stretched", "of the same proportion", "to the model's size", "cut off by the engine"],
)
def test_a_picture_is_stretched_when_that_is_asked_for(
    service: Service, mode: int, size: tuple[int | None, int | None], stored: tuple[int, int]
) -> None:
    fields = {"prompt": "x", "init_images": [f"data:image/png;base64,{picture(40, 20)}"], "resize_mode": mode}
    made = parsed(service, {**fields, "width": size[0], "height": size[1], "denoising_strength": 0.5}, RepaintingBody)
    assert made.strength == 0.5 and made.init_image is not None
    with Image.open(service.images.input_path(made.init_image)) as image:
        assert image.size == stored


def test_the_model_is_the_one_that_the_caller_chose_unless_the_request_names_another(service: Service) -> None:
    service.belongings.choose_model(ANN.id, "sd-1.5")
    assert refusal(service).startswith("sd_model_checkpoint: sd-1.5 is not on disk")
    for title in ("embedded", "Embedded", "embedded [6ce0161689]"):
        assert parsed(service, {"prompt": "x", "override_settings": {"sd_model_checkpoint": title}}).model == "embedded"
    assert parsed(service, {"prompt": "x"}, user=BEN).model == "embedded"


@pytest.mark.parametrize(
    ("prompt", "words", "loras"),
    [
        ("a cat", "a cat", []),
        ("a cat <lora:neon>", "a cat", [{"lora": "neon", "weight": 1.0}]),
        ("<lora:neon:0.5>a cat", "a cat", [{"lora": "neon", "weight": 0.5}]),
        ("a <lora:o/r/f.safetensors:-1><LoRA:b:.5>cat", "a cat", [
            {"lora": "o/r/f.safetensors", "weight": -1.0}, {"lora": "b", "weight": 0.5},
        ]),
        ("a < b: c > d", "a < b: c > d", []),
    ],
)  # fmt: skip
def test_loras_are_taken_out_of_the_prompt(prompt: str, words: str, loras: list[dict[str, object]]) -> None:
    assert networks(prompt) == (words, loras)


def test_a_lora_of_the_prompt_is_put_on(service: Service) -> None:
    made = parsed(service, {"prompt": "a cat <lora:neon:0.5>", "negative_prompt": "<lora:neon:1>"})
    assert (made.prompt, made.negative_prompt) == ("a cat", "<lora:neon:1>")
    assert [(use.lora, use.weight) for use in made.loras] == [("neon", 0.5)]


def test_an_embedding_is_called_up_by_its_word() -> None:
    known = [
        AdapterInfo(kind="embedding", id=f"{word}.file", name=word, architecture=kind, trigger=(word,), size=1)
        for word, kind in (("bad-hands", "A"), ("cat", "A"), ("other", "B"))
    ]
    assert called_up("a Bad-Hands, concatenated other", known, "A") == ["bad-hands.file"]


def test_embeddings_on_disk_that_fit_are_listed_and_heard(service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "embeddings"
    folder.mkdir(parents=True)
    for word, width in (("calm", 128), ("wide", 768)):
        save_file({word: np.zeros((3, width), np.float32)}, folder / f"{word}.safetensors")
    listed = embeddings(service.stock, "embedded")
    assert listed.loaded.keys() == {"calm"} and listed.skipped.keys() == {"wide"}
    assert (listed.loaded["calm"].shape, listed.loaded["calm"].vectors) == (128, 3)
    made = parsed(service, {"prompt": "a wide lake", "negative_prompt": "not calm"})
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
    assert parameters(text) == meant | found
