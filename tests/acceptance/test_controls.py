"""A picture that follows another one, through every API that can say it; the refusals of each; and control maps."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from mcp.types import ImageContent, TextContent
from PIL import Image, ImageDraw

from imagegen.media.control_maps.canny import canny
from imagegen.schema.controls import ControlUse
from tests.acceptance.conftest import Studio
from tests.acceptance.test_api_tab import NODE_MODULES
from tests.acceptance.test_api_tab import run as run_code
from tests.acceptance.test_inpainting import call_tool, encode, to_base64
from tests.acceptance.test_parity import DoorResult, Fields, Refused, read_door_result, receive_from_websocket
from tests.hub.preprocessors import save_depth_anything
from ui.code_samples import LANGUAGES, SampleRequest

PICTURE = Image.new("RGB", (128, 128), "white")
ImageDraw.Draw(PICTURE).ellipse((30, 30, 98, 98), fill="red")
CONTROL: Fields = {
    "controlnet": "studio-edges",
    "weight": 0.9,
    "start": 0.0,
    "end": 0.75,
    "preprocessor": "canny",
    "mode": "prompt",
}
FIELDS: Fields = {
    "prompt": "a red circle on a blue background",
    "width": 128,
    "height": 128,
    "steps": 4,
    "guidance_scale": 3.5,
    "sampler": "DPM++ 2M Karras",
    "seed": 11,
}


def with_controls(control: Fields) -> Fields:
    return FIELDS | {"controls": [{"image": to_base64(PICTURE)} | control]}


def by_rest(studio: Studio, control: Fields, folder: Path) -> DoorResult:
    answer = httpx.post(f"{studio.url}/v1/txt2img", json=with_controls(control), timeout=60).json()
    if "error" in answer:
        raise Refused(answer["error"]["message"])
    return read_door_result(base64.b64decode(answer["image_b64"]), answer["receipt"])


def by_websocket(studio: Studio, control: Fields, folder: Path) -> DoorResult:
    message = receive_from_websocket(studio, with_controls(control))
    if message["type"] == "error":
        raise Refused(message["message"])
    return read_door_result(base64.b64decode(message["data"]["image_b64"]), message["data"]["receipt"])


def by_gradio_client(studio: Studio, control: Fields, folder: Path) -> DoorResult:
    (folder / "picture.png").write_bytes(encode(PICTURE))
    sent = {"image": handle_file(folder / "picture.png")} | control
    try:
        file, receipt = Client(studio.url, verbose=False).predict(**FIELDS, controls=[sent], api_name="/txt2img")
    except AppError as error:
        raise Refused(str(error)) from error
    return read_door_result(Path(file).read_bytes(), receipt)


def by_openai(studio: Studio, control: Fields, folder: Path) -> DoorResult:
    extra = {name: value for name, value in with_controls(control).items() if name not in ("prompt", "width", "height")}
    client = openai.OpenAI(base_url=f"{studio.url}/v1", api_key="none", max_retries=0)
    try:
        answer = client.images.generate(prompt=FIELDS["prompt"], size="128x128", extra_body=extra)
    except openai.APIStatusError as error:
        raise Refused(error.message) from error
    assert answer.data is not None and answer.data[0].b64_json is not None
    return read_door_result(base64.b64decode(answer.data[0].b64_json), answer.model_dump()["receipts"][0])


def by_automatic1111(studio: Studio, control: Fields, folder: Path) -> DoorResult:
    names = {
        "controlnet": "model",
        "start": "guidance_start",
        "end": "guidance_end",
        "preprocessor": "module",
        "mode": "control_mode",
    }
    unit = {names.get(name, name): value for name, value in ({"image": to_base64(PICTURE)} | control).items()}
    if unit.get("control_mode") == "prompt":
        unit["control_mode"] = "My prompt is more important"
    own = {"guidance_scale": "cfg_scale", "sampler": "sampler_name"}
    body = {own.get(name, name): value for name, value in FIELDS.items()}
    body |= {"alwayson_scripts": {"ControlNet": {"args": [unit]}}}
    answer = httpx.post(f"{studio.url}/sdapi/v1/txt2img", json=body, timeout=60).json()
    if "error" in answer:
        raise Refused(answer["errors"])
    return read_door_result(base64.b64decode(answer["images"][0]), json.loads(answer["info"])["receipts"][0])


def by_hugging_face(studio: Studio, control: Fields, folder: Path) -> DoorResult:
    client = InferenceClient(base_url=f"{studio.url}/hf", api_key="none")
    others = {name: value for name, value in FIELDS.items() if name not in ("prompt", "steps", "sampler")}
    extra = {"controls": with_controls(control)["controls"], "scheduler": FIELDS["sampler"]}
    try:
        image = client.text_to_image(FIELDS["prompt"], num_inference_steps=FIELDS["steps"], **others, extra_body=extra)
    except HfHubHTTPError as error:
        raise Refused(error.response.text) from error
    receipt = json.loads(image.info["receipt"])
    return DoorResult(image.convert("RGB").tobytes(), receipt, receipt)


def by_mcp(studio: Studio, control: Fields, folder: Path) -> DoorResult:
    answer = call_tool(studio, "txt2img", with_controls(control))
    texts = [content.text for content in answer.content if isinstance(content, TextContent)]
    if answer.isError:
        raise Refused(texts[0])
    (picture,) = [content for content in answer.content if isinstance(content, ImageContent)]
    return read_door_result(base64.b64decode(picture.data), json.loads(texts[-1]))


Door = Callable[[Studio, Fields, Path], DoorResult]
DOORS: tuple[Door, ...] = (
    by_rest,
    by_websocket,
    by_gradio_client,
    by_openai,
    by_automatic1111,
    by_hugging_face,
    by_mcp,
)


@pytest.fixture(scope="module")
def first(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> DoorResult:
    return by_rest(studio, CONTROL, tmp_path_factory.mktemp("first"))


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_the_same_request_gives_the_same_picture_and_the_same_receipt(
    studio: Studio, first: DoorResult, door: Door, tmp_path: Path
) -> None:
    through = door(studio, CONTROL, tmp_path)
    assert through.receipt == through.returned_receipt == first.receipt
    assert through.pixels == first.pixels


def test_the_receipt_makes_the_picture_again(studio: Studio, first: DoorResult) -> None:
    (used,) = first.receipt["controls"]
    control = {name: used[name] for name in ControlUse.model_fields}
    assert {name: control[name] for name in CONTROL} == CONTROL and len(used["sha256"]) == 64
    again = {name: first.receipt[name] for name in FIELDS} | {"controls": [control]}
    answer = httpx.post(f"{studio.url}/v1/txt2img", json=again, timeout=60).json()
    assert answer["receipt"] == first.receipt, "the stored picture can be named by its id"
    plain = httpx.post(f"{studio.url}/v1/txt2img", json=FIELDS, timeout=60).json()
    with Image.open(BytesIO(base64.b64decode(plain["image_b64"]))) as picture:
        assert picture.convert("RGB").tobytes() != first.pixels


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_code_of_the_page_follows_a_file(studio: Studio, language: str, tmp_path: Path) -> None:
    """The second control has other members than the first, and its picture is larger than a megabyte."""
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (640, 640, 3), np.uint8))
    for name, image in {"picture": PICTURE, "control": PICTURE, "control-2": noise}.items():
        (tmp_path / f"{name}.png").write_bytes(encode(image))
    controls = [CONTROL | {"image": "0" * 64}, {"controlnet": "studio-edges", "image": "1" * 64, "weight": 0.1}]
    code = LANGUAGES[language].write(SampleRequest(studio.url, FIELDS | {"controls": controls}, ("init_image",)))
    receipt = run_code(language, code, tmp_path)
    sent = [CONTROL | {"image": to_base64(PICTURE)}, controls[1] | {"image": to_base64(noise)}]
    body = FIELDS | {"controls": sent, "init_image": to_base64(PICTURE)}
    assert receipt == httpx.post(f"{studio.url}/v1/img2img", json=body, timeout=60).json()["receipt"]


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"weight": 3}, "(weight).*must be between 0 and 2"),
        ({"start": 0.8, "end": 0.5}, "(end).*must be greater than start"),
        ({"controlnet": "nothing"}, "(controlnet|model).*nothing.*studio-edges"),
        ({"image": "bm90IGEgcGljdHVyZQ=="}, "(image).*must be a whole picture"),
        ({"preprocessor": "magic"}, "(preprocessor|module).*must be one of"),
    ],
    ids=str,
)
def test_what_is_wrong_is_refused_by_name(
    studio: Studio, door: Door, wrong: Fields, problem: str, tmp_path: Path
) -> None:
    if door is by_gradio_client and "image" in wrong:
        wrong = {"image": {"data": wrong["image"]}}
    with pytest.raises(Refused, match=problem):
        door(studio, CONTROL | wrong, tmp_path)


def test_too_many_are_refused_before_a_picture_is_stored(studio: Studio) -> None:
    body = {"prompt": "a", "controls": [{"image": "no picture"} | CONTROL] * 5}
    answer = httpx.post(f"{studio.url}/v1/images/generations", json=body, timeout=60).json()
    assert (answer["error"]["param"], answer["error"]["code"]) == ("controls", "invalid_request")
    assert "must have at most 4 entries" in answer["error"]["message"]


def test_control_maps_are_made_in_each_api(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(encode(PICTURE))
    sent = {"image": to_base64(PICTURE), "preprocessor": "canny"}
    rest = httpx.post(f"{studio.url}/v1/preprocess", json=sent, timeout=60).json()
    tool = call_tool(studio, "preprocess", sent)
    body = {"controlnet_module": "canny", "controlnet_input_images": [to_base64(PICTURE)]}
    web_ui = httpx.post(f"{studio.url}/controlnet/detect", json=body, timeout=60).json()
    file = Client(studio.url, verbose=False).predict(
        handle_file(tmp_path / "picture.png"), "canny", api_name="/preprocess"
    )
    stored = httpx.get(f"{studio.url}/v1/inputs/{rest['id']}").content
    encoded = [
        base64.b64decode(rest["image_b64"]),
        base64.b64decode(tool.content[0].data),
        base64.b64decode(web_ui["images"][0]),
        stored,
        Path(file).read_bytes(),
    ]
    maps = [np.asarray(Image.open(BytesIO(content)).convert("L")) for content in encoded]
    assert all((each == maps[0]).all() for each in maps)
    rows, columns = np.nonzero(maps[0])
    distances = np.hypot(rows - 64, columns - 64)
    assert len(rows) > 100 and abs(distances - 34).max() < 3, "the edges are those of the circle"


def test_a_controlnet_of_the_hub_is_loaded_refused_and_deleted(hub_studio: Studio) -> None:
    name, url = "studio/controlnet-canny", f"{hub_studio.url}/v1/controlnets"
    body = FIELDS | {"controls": [{"controlnet": name, "image": to_base64(PICTURE)}]}
    refused = httpx.post(f"{hub_studio.url}/v1/txt2img", json=body, timeout=60).json()["error"]
    assert (refused["code"], refused["field"]) == ("not_on_disk", "controls[0].controlnet")
    loaded = httpx.post(f"{url}/load", json={"controlnet": name}, timeout=60).json()
    assert (loaded["id"], loaded["architecture"], loaded["preprocessor"]) == (name, "Stable Diffusion 1", "canny")
    misfit = httpx.post(f"{hub_studio.url}/v1/txt2img", json=body, timeout=60).json()["error"]
    assert misfit["field"] == "controls[0].controlnet" and "was made for Stable Diffusion 1" in misfit["message"]
    wrong = httpx.post(f"{url}/load", json={"controlnet": "studio/upscaler-pickle"}, timeout=60).json()["error"]
    assert wrong["field"] == "controlnet" and "pickles are never loaded" in wrong["message"]
    unloaded = httpx.post(f"{url}/unload", json={"controlnet": name, "delete": True}).json()
    assert unloaded == {"unloaded": name, "deleted": True}
    assert name not in [each["id"] for each in httpx.get(f"{url}/list").json()]


def test_controlnets_are_listed_in_each_api(studio: Studio) -> None:
    listed = httpx.get(f"{studio.url}/v1/controlnets/list").json()
    assert [(each["id"], each["preprocessor"]) for each in listed] == [("studio-edges", "canny")]
    assert Client(studio.url, verbose=False).predict(api_name="/list_controlnets") == listed
    assert httpx.get(f"{studio.url}/controlnet/model_list").json() == {"model_list": ["studio-edges"]}
    assert "tile_resample" in httpx.get(f"{studio.url}/controlnet/module_list").json()["module_list"]
    types = httpx.get(f"{studio.url}/controlnet/control_types").json()["control_types"]["All"]
    assert types["model_list"] == ["None", "studio-edges"]
    loaded = httpx.post(f"{studio.url}/v1/controlnets/load", json={"controlnet": "studio-edges"}, timeout=60).json()
    assert loaded == listed[0]


@pytest.fixture
def depth(studio: Studio) -> Iterator[None]:
    """A network for depth in the models folder of the studio."""
    folder = studio.models_dir / "preprocessors"
    save_depth_anything(folder / "tiny-depth")
    yield
    shutil.rmtree(folder)


def test_a_worker_makes_the_maps_of_networks_for_every_api(studio: Studio, depth: None, tmp_path: Path) -> None:
    sent = {"image": to_base64(PICTURE), "preprocessor": "depth"}
    rest = httpx.post(f"{studio.url}/v1/preprocess", json=sent, timeout=60).json()
    tool = call_tool(studio, "preprocess", sent)
    body = {"controlnet_module": "depth_midas", "controlnet_input_images": [to_base64(PICTURE)]}
    web_ui = httpx.post(f"{studio.url}/controlnet/detect", json=body, timeout=60).json()
    encoded = [rest["image_b64"], tool.content[0].data, web_ui["images"][0]]
    maps = [np.asarray(Image.open(BytesIO(base64.b64decode(each)))) for each in encoded]
    assert all((each == maps[0]).all() for each in maps)
    assert maps[0].shape == (128, 128, 3) and (maps[0].min(), maps[0].max()) == (0, 255)
    listed = httpx.get(f"{studio.url}/v1/preprocessors/list").json()
    assert [(each["id"], each["preprocessor"]) for each in listed] == [("tiny-depth", "depth")]
    by_name = by_rest(studio, CONTROL | {"preprocessor": "depth"}, tmp_path)
    by_id = by_rest(studio, CONTROL | {"preprocessor": "none", "image": rest["id"]}, tmp_path)
    assert by_name.pixels == by_id.pixels
    assert by_automatic1111(studio, CONTROL | {"preprocessor": "depth_anything"}, tmp_path).pixels == by_name.pixels


def test_the_maps_of_units_follow_the_pictures_in_the_web_uis_answers(studio: Studio) -> None:
    edges = {"image": to_base64(PICTURE), "model": "studio-edges", "module": "canny"}
    ready = {"image": to_base64(PICTURE), "model": "studio-edges"}
    quiet = {**ready, "save_detected_map": False}
    body = {"prompt": "a red circle", "steps": 1, "seed": 3, "width": 96, "height": 128}

    def draw(*units: Fields, **settings: object) -> list[Image.Image]:
        scripts = {"ControlNet": {"args": [*units, {"enabled": False}]}}
        sent = body | {"alwayson_scripts": scripts, "override_settings": settings}
        answer = httpx.post(f"{studio.url}/sdapi/v1/txt2img", json=sent, timeout=60).json()
        assert len(json.loads(answer["info"])["infotexts"]) == 1
        return [Image.open(BytesIO(base64.b64decode(each))) for each in answer["images"]]

    # A square picture is cropped to the shape of the one that follows it.
    fitted = PICTURE.crop((16, 0, 112, 128))
    picture, first, second = draw(edges, quiet, ready)
    assert (picture.size, first.size, second.size) == ((96, 128),) * 3
    assert first.tobytes() == canny(fitted).tobytes() and second.tobytes() == fitted.tobytes()
    assert [each.format for each in draw(edges, samples_format="jpg")] == ["JPEG", "JPEG"]
    assert len(draw(edges, control_net_no_detectmap=True)) == 1
    options = f"{studio.url}/sdapi/v1/options"
    for value in (True, False):
        httpx.post(options, json={"control_net_no_detectmap": value}).raise_for_status()
        assert httpx.get(options).json()["control_net_no_detectmap"] is value
        assert len(draw(edges)) == (1 if value else 2)
