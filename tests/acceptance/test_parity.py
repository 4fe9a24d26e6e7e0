"""One request through every API: the same pixels, the same receipt, and for an invalid one the same code."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import websockets
from gradio_client import Client
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, ImageContent, TextContent
from PIL import Image

from imagegen.schema.receipt import Receipt
from imagegen.schema.request import list_task_fields
from tests.acceptance.conftest import ROOT, Studio, run_coroutine, running_studio

Fields = dict[str, Any]
REQUEST: Fields = {
    "prompt": 'it\'s "a red circle" on a blue background, größer',
    "negative_prompt": "green",
    "width": 96,
    "height": 128,
    "steps": 5,
    "guidance_scale": 5.5,
    "sampler": "DPM++ 2M Karras",
    "seed": 4242,
    "clip_skip": 1,
    "loras": [{"lora": "neon", "weight": 0.5}],
    "variation_seed": 17,
    "variation_strength": 0.25,
}
# In the order of the request's fields, as Gradio's plain HTTP takes them.
ORDER = list_task_fields("text_to_image")


@dataclass(frozen=True)
class DoorResult:
    """`receipt` is the one in the file; `returned_receipt` the one in the response."""

    pixels: bytes
    receipt: Fields
    returned_receipt: Fields


class Refused(Exception):
    """An error response: its code, and all that it says."""

    def __init__(self, code: str | None, message: str = "") -> None:
        super().__init__(code)
        self.message = message


def read_door_result(png: bytes, returned_receipt: Fields) -> DoorResult:
    with Image.open(BytesIO(png)) as image:
        return DoorResult(image.tobytes(), json.loads(image.info["receipt"]), returned_receipt)


def by_gradio_client(studio: Studio, fields: Fields) -> DoorResult:
    try:
        file, receipt = Client(studio.url, verbose=False).predict(**fields, api_name="/txt2img")
    except AppError as error:
        raise Refused(error.title, str(error)) from error
    return read_door_result(Path(file).read_bytes(), receipt)


def by_plain_gradio(studio: Studio, fields: Fields) -> DoorResult:
    values = [fields.get(name, {"batch_size": 1, "embeddings": [], "more_prompts": []}.get(name)) for name in ORDER]
    call = f"{studio.url}/gradio_api/call/txt2img"
    event = httpx.post(call, json={"data": values}).json()["event_id"]
    kind, data = httpx.get(f"{call}/{event}", timeout=60).text.strip().split("\n\n")[-1].split("\n")
    content = json.loads(data.removeprefix("data: "))
    if kind == "event: error":
        raise Refused(content["title"], content["error"])
    return read_door_result(httpx.get(content[0]["url"]).content, content[1])


def by_javascript(studio: Studio, fields: Fields) -> DoorResult:
    command = ["node", "generate.mjs", studio.url, json.dumps(fields)]
    done = subprocess.run(command, cwd=ROOT / "tests/node", capture_output=True, text=True, timeout=120, check=False)
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise Refused(answer["title"], answer["error"])
    return read_door_result(httpx.get(answer["image_url"]).content, answer["receipt"])


def by_rest(studio: Studio, fields: Fields) -> DoorResult:
    answer = httpx.post(f"{studio.url}/v1/txt2img", json=fields, timeout=60).json()
    if "error" in answer:
        raise Refused(answer["error"]["code"], answer["error"]["message"])
    return read_door_result(base64.b64decode(answer["image_b64"]), answer["receipt"])


def by_job(studio: Studio, fields: Fields) -> DoorResult:
    answer = httpx.post(f"{studio.url}/v1/jobs", json=fields).json()
    if answer.get("error"):
        raise Refused(answer["error"]["code"], answer["error"]["message"])
    events = httpx.get(f"{studio.url}/v1/jobs/{answer['id']}/events", timeout=60).text
    assert "event: result" in events
    result = httpx.get(f"{studio.url}/v1/jobs/{answer['id']}").json()["result"]
    return read_door_result(httpx.get(studio.url + result["url"]).content, result["receipt"])


def receive_from_websocket(studio: Studio, fields: Fields) -> Fields:
    async def exchange_messages() -> Fields:
        async with websockets.connect(f"{studio.url.replace('http', 'ws')}/v1/ws", max_size=None) as socket:
            await socket.send(json.dumps(fields))
            async for text in socket:
                message: Fields = json.loads(text)
                if message["type"] in ("result", "error"):
                    return message
        raise AssertionError("closed too early")

    return run_coroutine(exchange_messages())


def by_websocket(studio: Studio, fields: Fields) -> DoorResult:
    message = receive_from_websocket(studio, fields)
    if message["type"] == "error":
        raise Refused(message["code"], message["message"])
    return read_door_result(base64.b64decode(message["data"]["image_b64"]), message["data"]["receipt"])


def by_openai(studio: Studio, fields: Fields) -> DoorResult:
    extra = {name: value for name, value in fields.items() if name not in ("prompt", "width", "height")}
    size = f"{fields['width']}x{fields['height']}" if "width" in fields else "auto"
    client = openai.OpenAI(base_url=f"{studio.url}/v1", api_key="none", max_retries=0)
    try:
        answer = client.images.generate(prompt=fields["prompt"], size=size, extra_body=extra)
    except openai.APIStatusError as error:
        raise Refused(error.code, error.message) from error
    assert answer.data is not None and answer.data[0].b64_json is not None
    return read_door_result(base64.b64decode(answer.data[0].b64_json), answer.model_dump()["receipts"][0])


def by_automatic1111(studio: Studio, fields: Fields) -> DoorResult:
    names = {
        "guidance_scale": "cfg_scale",
        "sampler": "sampler_name",
        "variation_seed": "subseed",
        "variation_strength": "subseed_strength",
        "hires_scale": "hr_scale",
        "hires_steps": "hr_second_pass_steps",
        "hires_strength": "denoising_strength",
        "hires_upscaler": "hr_upscaler",
    }
    body = {names.get(name, name): value for name, value in fields.items() if name not in ("loras", "clip_skip")}
    body["prompt"] += "".join(f" <lora:{use['lora']}:{use['weight']}>" for use in fields.get("loras", []))
    if "hires_scale" in fields:
        body["enable_hr"] = True
    if "clip_skip" in fields:
        body["override_settings"] = {"CLIP_stop_at_last_layers": fields["clip_skip"] + 1}
    if "model" in fields:
        body["override_settings"] = {"sd_model_checkpoint": body.pop("model")}
    if "vae" in fields:
        body["override_settings"] = {"sd_vae": body.pop("vae")}
    answer = httpx.post(f"{studio.url}/sdapi/v1/txt2img", json=body, timeout=60).json()
    if "error" in answer:
        raise Refused(answer["error"], answer["errors"])
    return read_door_result(base64.b64decode(answer["images"][0]), json.loads(answer["info"])["receipts"][0])


async def call_mcp_tool(studio: Studio, fields: Fields) -> CallToolResult:
    async def noted(progress: float, total: float | None, message: str | None) -> None:
        pass

    async with (
        streamable_http_client(f"{studio.url}/gradio_api/mcp/") as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        return await session.call_tool("txt2img", fields, progress_callback=noted)


def by_mcp(studio: Studio, fields: Fields) -> DoorResult:
    answer = run_coroutine(call_mcp_tool(studio, fields))
    texts = [content.text for content in answer.content if isinstance(content, TextContent)]
    if answer.isError:
        raise Refused(texts[0].partition(":")[0], texts[0])
    (picture,) = [content for content in answer.content if isinstance(content, ImageContent)]
    return read_door_result(base64.b64decode(picture.data), json.loads(texts[-1]))


def by_hugging_face(studio: Studio, fields: Fields) -> DoorResult:
    names = {"steps": "num_inference_steps", "sampler": "scheduler"}
    others = [name for name in fields if name not in ("prompt", "model")]
    parameters = {names.get(name, name): fields[name] for name in others}
    address = f"{studio.url}/hf" + (f"/models/{fields['model']}" if "model" in fields else "")
    body = {"inputs": fields["prompt"], "parameters": parameters}
    answer = httpx.post(address, json=body, headers={"Accept": "image/png"}, timeout=60)
    if answer.is_error:
        raise Refused(answer.json()["code"], answer.text)
    job = httpx.get(f"{studio.url}/v1/jobs/{answer.headers['X-Job-Id']}").json()
    return read_door_result(answer.content, job["result"]["receipt"])


Door = Callable[[Studio, Fields], DoorResult]
DOORS: tuple[Door, ...] = (
    by_gradio_client, by_plain_gradio, by_javascript, by_rest, by_job, by_websocket, by_openai, by_automatic1111,
    by_hugging_face, by_mcp,
)  # fmt: skip


@pytest.fixture(scope="module")
def first(studio: Studio) -> DoorResult:
    return by_rest(studio, REQUEST)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_the_same_request_gives_the_same_picture_and_the_same_receipt(
    studio: Studio, first: DoorResult, door: Door
) -> None:
    through = door(studio, REQUEST)
    assert through.receipt == through.returned_receipt == first.receipt
    assert through.pixels == first.pixels


def test_the_receipt_says_what_was_asked_for(first: DoorResult) -> None:
    requested = {name: value for name, value in REQUEST.items() if name != "loras"}
    assert {name: first.receipt[name] for name in requested} == requested
    assert [(used["lora"], used["weight"]) for used in first.receipt["loras"]] == [("neon", 0.5)]


@pytest.fixture(scope="module")
def caching_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio that answers from its output cache, and has made the picture once."""
    with running_studio(tmp_path_factory.mktemp("keeping"), "--output-cache") as studio:
        assert by_rest(studio, REQUEST).returned_receipt["cached"] is False
        yield studio


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_a_picture_that_was_kept_comes_through_every_door_and_says_so(
    caching_studio: Studio, first: DoorResult, door: Door
) -> None:
    through = door(caching_studio, REQUEST)
    assert through.receipt == first.receipt
    assert through.returned_receipt == first.receipt | {"cached": True}
    assert through.pixels == first.pixels


SMALL: Fields = {"prompt": "a red circle", "seed": 9, "steps": 3, "width": 64, "height": 64}
HIRES = {"hires_scale": 2, "hires_steps": 2, "hires_strength": 0.5, "hires_upscaler": "Latent"}
UPSCALED = {"scale": 2.5, "upscaler": "studio-x4"}


@pytest.fixture(scope="module")
def larger(studio: Studio) -> dict[str, DoorResult]:
    return {"painted again": by_rest(studio, SMALL | HIRES), "upscaled": by_rest(studio, SMALL | UPSCALED)}


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_a_second_pass_is_the_same_through_every_door(
    studio: Studio, larger: dict[str, DoorResult], door: Door
) -> None:
    expected, through = larger["painted again"], door(studio, SMALL | HIRES)
    assert {name: through.receipt[name] for name in HIRES} == HIRES
    assert (through.receipt["final_width"], through.receipt["width"]) == (128, 64)
    assert through.receipt == through.returned_receipt == expected.receipt
    assert through.pixels == expected.pixels


# AUTOMATIC1111's API makes finished pictures larger with its extras.
@pytest.mark.parametrize("door", [each for each in DOORS if each != by_automatic1111], ids=lambda door: door.__name__)
def test_an_upscaler_is_the_same_through_every_door(studio: Studio, larger: dict[str, DoorResult], door: Door) -> None:
    expected, through = larger["upscaled"], door(studio, SMALL | UPSCALED)
    assert {name: through.receipt[name] for name in UPSCALED} == UPSCALED
    assert (through.receipt["final_width"], through.receipt["width"]) == (160, 64)
    assert through.receipt == through.returned_receipt == expected.receipt
    assert through.pixels == expected.pixels


SEVERAL: Fields = {"prompt": "a red circle", "more_prompts": ["a green star"], "steps": 3, "seed": 11}


def several_by_gradio_client(studio: Studio) -> list[DoorResult]:
    files, receipts = Client(studio.url, verbose=False).predict(**SEVERAL, api_name="/txt2img")
    return [read_door_result(Path(file).read_bytes(), receipt) for file, receipt in zip(files, receipts, strict=True)]


def several_by_rest(studio: Studio) -> list[DoorResult]:
    return list_prompt_results(httpx.post(f"{studio.url}/v1/txt2img", json=SEVERAL, timeout=60).json())


def several_by_websocket(studio: Studio) -> list[DoorResult]:
    return list_prompt_results(receive_from_websocket(studio, SEVERAL)["data"])


def several_by_mcp(studio: Studio) -> list[DoorResult]:
    answer = run_coroutine(call_mcp_tool(studio, SEVERAL))
    pictures = [content.data for content in answer.content if isinstance(content, ImageContent)]
    texts = [content.text for content in answer.content if isinstance(content, TextContent)]
    receipts = map(json.loads, texts[-len(pictures) :])
    return [read_door_result(base64.b64decode(data), receipt) for data, receipt in zip(pictures, receipts, strict=True)]


def list_prompt_results(answer: Fields) -> list[DoorResult]:
    entries = [answer, *answer["others"]]
    return [read_door_result(base64.b64decode(entry["image_b64"]), entry["receipt"]) for entry in entries]


@pytest.mark.parametrize(
    "door", [several_by_gradio_client, several_by_rest, several_by_websocket, several_by_mcp], ids=lambda d: d.__name__
)
def test_several_prompts_are_one_batch_through_every_door_that_takes_them(
    studio: Studio, door: Callable[[Studio], list[DoorResult]]
) -> None:
    pictures = door(studio)
    assert [(each.returned_receipt["prompt"], each.returned_receipt["seed"]) for each in pictures] == [
        ("a red circle", 11),
        ("a green star", 12),
    ]
    assert all(each.receipt == each.returned_receipt for each in pictures)
    assert pictures[0].pixels != pictures[1].pixels


@pytest.mark.parametrize("door", [by_openai, by_automatic1111, by_hugging_face], ids=lambda door: door.__name__)
def test_the_formats_of_others_take_one_prompt(studio: Studio, door: Door) -> None:
    with pytest.raises(Refused, match="^invalid_request$"):
        door(studio, SEVERAL)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"steps": 0}, "invalid_request"),
        ({"model": "no-such-model"}, "unknown_model"),
        ({"model": "sd-1.5"}, "not_on_disk"),
    ],
)
def test_the_same_mistake_has_the_same_code(studio: Studio, door: Door, wrong: Fields, code: str) -> None:
    with pytest.raises(Refused, match=f"^{code}$"):
        door(studio, {"prompt": "a red circle"} | wrong)


WILD: Fields = {
    "prompt": "a {red|green|blue} __shape__ {<lora:neon:0.5>|<lora:neon:1>}",
    "negative_prompt": "__shape__",
    "seed": 21,
    "steps": 3,
    "width": 64,
    "height": 64,
}


@pytest.fixture(scope="module")
def wild(studio: Studio) -> Iterator[DoorResult]:
    """A picture of a prompt with choices, while the studio has two wildcards."""
    folder = studio.models_dir / "wildcards"
    folder.mkdir(parents=True)
    (folder / "shape.txt").write_text("# shapes\n__round__\nsquare\nstar\ntriangle\n")
    (folder / "round.txt").write_text("circle\nring\n")
    yield by_rest(studio, WILD)
    shutil.rmtree(folder)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_choices_in_a_prompt_are_the_same_through_every_door(studio: Studio, wild: DoorResult, door: Door) -> None:
    through = door(studio, WILD)
    assert through.receipt == through.returned_receipt == wild.receipt
    assert through.pixels == wild.pixels


def test_a_receipt_has_the_prompt_that_was_painted_and_the_one_that_was_written(
    studio: Studio, wild: DoorResult
) -> None:
    receipt = wild.receipt
    assert re.fullmatch("a (red|green|blue) (circle|ring|square|star|triangle)", receipt["prompt"])
    assert receipt["negative_prompt"] in ("circle", "ring", "square", "star", "triangle")
    assert [used["lora"] for used in receipt["loras"]] == ["neon"]
    written = {"prompt": WILD["prompt"], "negative_prompt": WILD["negative_prompt"]}
    assert receipt["requested"] == {"model": None, "size": None} | written
    again = by_rest(studio, Receipt(**receipt).to_request_fields())
    assert again.receipt == receipt | {"requested": None}
    assert again.pixels == wild.pixels


def test_each_picture_of_a_batch_has_the_choices_of_its_seed(studio: Studio, wild: DoorResult) -> None:
    batch: Fields = {"prompt": "a {red|green|blue} __shape__", "batch_size": 4} | {
        name: WILD[name] for name in ("seed", "steps", "width", "height")
    }
    pictures = list_prompt_results(httpx.post(f"{studio.url}/v1/txt2img", json=batch, timeout=60).json())
    assert len({each.receipt["prompt"] for each in pictures}) > 1
    for number, picture in enumerate(pictures):
        alone = by_rest(studio, batch | {"batch_size": 1, "seed": batch["seed"] + number})
        assert picture.receipt == alone.receipt
        differences = [abs(one - other) for one, other in zip(picture.pixels, alone.pixels, strict=True)]
        assert max(differences) <= 1  # Of sums in another order.


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_an_unknown_wildcard_is_refused_by_name(studio: Studio, wild: DoorResult, door: Door) -> None:
    with pytest.raises(Refused, match="^invalid_request$") as refusal:
        door(studio, {"prompt": "a __shap__"})
    assert re.search("(prompt|inputs): there is no wildcard shap; there are round, shape", refusal.value.message)


def test_wildcards_are_listed(studio: Studio, wild: DoorResult) -> None:
    names = [{"name": "round"}, {"name": "shape"}]
    assert httpx.get(f"{studio.url}/v1/wildcards/list").json() == names
    assert Client(studio.url, verbose=False).predict(api_name="/list_wildcards") == names


def test_the_tokens_of_a_prompt_with_choices_are_those_of_a_seed(studio: Studio, wild: DoorResult) -> None:
    def count(**body: Any) -> Fields:
        answer: Fields = httpx.post(f"{studio.url}/v1/tokens", json=body).json()
        return answer

    plain = count(prompt="a fox")
    assert count(prompt="a {fox|red fox in the deep snow}", seed=3)["has_choices"] is True
    tokens = {count(prompt="a {fox|red fox in the deep snow}", seed=seed)["tokens"] for seed in range(12)}
    assert tokens == {plain["tokens"], count(prompt="a red fox in the deep snow")["tokens"]}
    assert plain["has_choices"] is False
    assert "there is no wildcard x" in httpx.post(f"{studio.url}/v1/tokens", json={"prompt": "__x__"}).text
