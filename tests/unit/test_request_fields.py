"""A field of the request works in every API, on the page and in the receipt because it is defined."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from imagegen.api.openai.forms import parse_form_fields
from imagegen.api.openai.requests import OPENAI_NAMES, UNAVAILABLE_FIELDS, EditAsked, GenerationAsked
from imagegen.api.rest.messages import AnyRequest, ImageToImage, Inpainting, Outpainting, TextToImage, Upscaling
from imagegen.errors import InvalidRequest
from imagegen.library.family_facts import FAMILIES
from imagegen.library.model_info import build_model_info
from imagegen.schema.input_images import get_input_images
from imagegen.schema.markers import InputImage, Needs, Requires, find_marked_fields
from imagegen.schema.models import Capabilities, ModelInfo
from imagegen.schema.receipt import NOT_IN_RECEIPT, Receipt
from imagegen.schema.request import (
    INPUT_IMAGES,
    NEEDS,
    REQUIRES,
    GenerationRequest,
    list_image_fields,
    list_task_fields,
)
from imagegen.schema.tasks import TASKS, TaskName, find_task
from imagegen.schema.validation import parse_request, supports_field
from imagegen.service import Service
from tests.doubles import make_library, make_receipt
from tests.unit.in_process_studio import run_in_process_studio
from tests.unit.model_files import write_transformer_model
from ui.control_updates import find_unsupported_fields
from ui.endpoints import build_endpoint, order_parameters
from ui.forms import Form
from ui.tabs.create import CreateTab

ROOT = Path(__file__).parents[2]
FIELDS = set(GenerationRequest.model_fields)
TASK_NAMES: tuple[TaskName, ...] = tuple(TASKS)
# Where the start image may be named: its definition, the pipelines' arguments, and names of other APIs.
NAMES_THE_START_IMAGE = (
    "imagegen/schema/",
    "imagegen/engine/",
    "imagegen/api/openai/requests.py",
    "imagegen/api/a1111/",
    "imagegen/media/metadata/readers/",
)


def test_every_field_is_in_the_receipt_or_has_a_reason_not_to_be() -> None:
    assert FIELDS - Receipt.model_fields.keys() == NOT_IN_RECEIPT.keys()
    assert all(NOT_IN_RECEIPT.values())


def test_every_marker_names_something_that_there_is() -> None:
    assert {needs.capability for needs in NEEDS.values()} <= Capabilities.model_fields.keys()
    assert {requires.field for requires in REQUIRES.values()} <= FIELDS
    assert {task.capability for task in TASKS.values() if task.paints} <= Capabilities.model_fields.keys()
    assert {field for task in TASKS.values() for field in task.fields} <= NEEDS.keys()


def test_each_marker_is_found_on_its_own_fields() -> None:
    assert find_marked_fields(GenerationRequest, InputImage) == {
        "init_image": InputImage("rgb"),
        "mask_image": InputImage("mask"),
        "image": InputImage("rgba"),
    }
    required = find_marked_fields(GenerationRequest, Requires)
    assert (required["strength"], required["mask_blur"]) == (Requires("init_image"), Requires("mask_image"))
    assert required["hires_steps"] == Requires("hires_scale")
    assert find_marked_fields(GenerationRequest, Needs)["guidance_scale"] == Needs("guidance", neutral=1)


def test_no_capability_is_the_same_for_every_model(tmp_path: Path) -> None:
    entries = list(make_library(tmp_path).models.entries.values())
    entries.append(entries[-1].model_copy(update={"loras": (), "quantization": "nf4"}))
    abilities = [build_model_info(entry, None).can.abilities for entry in entries]
    only_inpaints = Capabilities(text_to_image=False, inpainting=True, samplers=("Euler",), max_side=512)
    abilities.append(only_inpaints.abilities)
    for name in abilities[0]:
        assert {each[name] for each in abilities} == {True, False}, name


def test_a_model_card_names_each_capability_for_users() -> None:
    abilities = Capabilities(samplers=("Euler",), max_side=512, loras=True).abilities
    assert abilities["LoRAs"] is True and abilities["weighted words"] is False and abilities["image to image"] is False
    assert len(abilities) == sum(field.annotation is bool for field in Capabilities.model_fields.values())


def test_families_have_no_flag_that_is_not_a_capability() -> None:
    flags = {name for name, value in vars(FAMILIES["FluxPipeline"]).items() if isinstance(value, bool)}
    assert flags <= Capabilities.model_fields.keys()


def test_a_family_that_cannot_start_from_a_picture_has_no_strength() -> None:
    assert all(family.image_to_image for family in FAMILIES.values() if family.strength)


def test_each_field_belongs_to_a_task_and_each_task_to_its_pictures() -> None:
    assert set().union(*map(list_task_fields, TASK_NAMES)) == FIELDS
    for name, task in TASKS.items():
        assert find_task({*task.input_images, *task.fields[:1]}) == name
        assert set(task.input_images) <= set(list_image_fields(name)) <= set(list_task_fields(name))
    assert set(list_image_fields("image_to_image")) == {"init_image", "strength"}
    assert list_image_fields("text_to_image") == ()
    mask_fields = {name for name in FIELDS if name.startswith("mask_")}
    assert set(list_image_fields("inpainting")) == {"init_image", "strength"} | mask_fields
    extensions = {name for name in FIELDS if name.startswith("extend_")}
    assert set(list_image_fields("outpainting")) == {"init_image", "strength"} | extensions


def test_a_request_has_the_task_of_its_pictures() -> None:
    assert parse_request({"prompt": "x"}).task == "text_to_image"
    request = parse_request({"prompt": "x", "init_image": "0" * 64})
    assert (request.task, get_input_images(request)) == ("image_to_image", {"init_image": "0" * 64})
    assert parse_request({"prompt": "x", "init_image": "0" * 64, "mask_image": "1" * 64}).task == "inpainting"
    assert parse_request({"prompt": "x", "init_image": "0" * 64, "extend_top": 8}).task == "outpainting"
    with pytest.raises(InvalidRequest, match="^extend_top: cannot be used with mask_image$"):
        parse_request({"prompt": "x", "init_image": "0" * 64, "mask_image": "1" * 64, "extend_top": 8})


@pytest.mark.parametrize(
    ("model", "task", "required"),
    [
        (TextToImage, "text_to_image", {"prompt"}),
        (ImageToImage, "image_to_image", {"prompt", "init_image"}),
        (Inpainting, "inpainting", {"prompt", "init_image", "mask_image"}),
        (Outpainting, "outpainting", {"prompt", "init_image"}),
        (Upscaling, "upscale", {"image"}),
    ],
)
def test_rest_takes_the_fields_of_each_task(model: Any, task: TaskName, required: set[str]) -> None:
    assert tuple(model.model_fields) == list_task_fields(task)
    assert {name for name, field in model.model_fields.items() if field.is_required()} == required
    assert set(AnyRequest.model_fields) == FIELDS


@pytest.mark.parametrize(
    ("model", "task"),
    [(GenerationAsked, "text_to_image"), *((EditAsked, TASK) for TASK in ("inpainting", "outpainting"))],
)
def test_openai_takes_the_fields_of_each_task(model: Any, task: TaskName) -> None:
    expected = {OPENAI_NAMES.get(name, name) for name in list_task_fields(task) if name not in UNAVAILABLE_FIELDS}
    assert expected <= set(model.model_fields) | set(model.uploads.values())


def test_forms_read_each_value_by_the_type_of_its_field() -> None:
    texts = {"step_cache": "0.2", "negative_prompt": "1", "steps": "9", "sampler": "DDIM"}
    values = parse_form_fields(texts.items(), EditAsked)
    assert values == {"step_cache": 0.2, "negative_prompt": "1", "steps": 9, "sampler": "DDIM"}
    members = [("loras[][lora]", "1"), ("loras[][weight]", "1")]
    assert parse_form_fields(members, EditAsked) == {"loras": [{"lora": "1", "weight": 1}]}


@pytest.mark.parametrize("task", TASK_NAMES)
def test_gradio_endpoints_take_the_fields_of_each_task(task: TaskName) -> None:
    service: Any = None
    parameters = order_parameters(task)
    signature = inspect.signature(build_endpoint(service, task, parameters))
    assert set(parameters) == set(list_task_fields(task))
    assert tuple(signature.parameters) == (*parameters, "http")
    for name, parameter in signature.parameters.items():
        assert (parameter.annotation is gr.FileData) == (name in INPUT_IMAGES)
        assert (parameter.default is inspect.Parameter.empty) == (name in TASKS[task].required_fields)


def build_form(service: Service) -> Form:
    with gr.Blocks(), gr.Tabs():
        return CreateTab(service).form


async def test_a_section_is_hidden_for_models_that_cannot_use_it(tmp_path: Path) -> None:
    """FLUX.1 Kontext edits pictures: it neither paints them again, nor parts of them."""
    write_transformer_model(tmp_path / "models" / "edits", "FluxKontextPipeline")
    async with run_in_process_studio(tmp_path) as studio:
        form = build_form(studio.service)
        shown = {
            model: [(await form.adapt_to_model(model))[section]["visible"] for section in form.sections.values()]
            for model in ("embedded", "edits")
        }
        assert shown == {"embedded": [True, True], "edits": [False, False]}
        assert form.sections.keys() == {"hires_scale", "detail_detector"}


async def test_the_page_has_a_control_for_each_field_and_fills_it_from_a_receipt(tmp_path: Path) -> None:
    async with run_in_process_studio(tmp_path) as studio:
        form = build_form(studio.service)
        assert set(form.controls) == set(GenerationRequest.model_fields)
        receipt = make_receipt(
            init_image="0" * 64,
            strength=0.5,
            step_cache=0.25,
            model_id="embedded",
            variation_seed=5,
            mask_image="1" * 64,
            mask_blur=7,
            mask_invert=True,
            mask_area="masked",
            mask_padding=9,
            mask_fill="noise",
        )
        updates = await form.fill_from_receipt(receipt)
        own = set(list_task_fields("inpainting")) - {"loras"}
        values = {name: updates[control]["value"] for name, control in form.controls.items() if name in own}
        assert values["variation_seed"] == 5
        assert values["step_cache"] == 0.25 and values["batch_size"] == 1 and values["more_prompts"] == ""
        assert values["init_image"] == str(studio.service.images.input_path("0" * 64))
        assert values["mask_image"] == "1" * 64
        mask = [values[f"mask_{name}"] for name in ("blur", "invert", "area", "padding", "fill")]
        assert mask == [7, True, "masked", 9, "noise"]


@pytest.mark.parametrize("task", TASK_NAMES)
async def test_the_request_of_the_page_has_the_fields_of_its_tool(tmp_path: Path, task: TaskName) -> None:
    async with run_in_process_studio(tmp_path) as studio:
        form = build_form(studio.service)
        values = [task, *(None for _ in form.inputs[1:])]
        size = {"width", "height"} if task == "outpainting" else set()
        assert set(form.read_fields(values)) == set(list_task_fields(task)) - size
        with pytest.raises(InvalidRequest, match="tool: must be one of"):
            form.read_fields(["painting", *values[1:]])


async def test_a_control_suits_the_type_of_its_field(tmp_path: Path) -> None:
    async with run_in_process_studio(tmp_path) as studio:
        controls = build_form(studio.service).controls
        step_cache, clip_skip = controls["step_cache"], controls["clip_skip"]
        assert isinstance(step_cache, gr.Slider) and isinstance(clip_skip, gr.Slider)
        assert (step_cache.minimum, step_cache.maximum, step_cache.step) == (0, 1, 0.05)
        assert (clip_skip.minimum, clip_skip.maximum, clip_skip.step) == (0, 2, 1)
        variation_strength, variation_seed = controls["variation_strength"], controls["variation_seed"]
        assert isinstance(variation_strength, gr.Slider) and variation_strength.maximum == 1
        assert isinstance(variation_seed, gr.Textbox) and variation_seed.value is None


def test_a_form_leaves_out_what_the_model_cannot_use_but_never_a_picture(tmp_path: Path) -> None:
    model: ModelInfo = make_library(tmp_path).models.get("embedded").info
    unable = model.model_copy(
        update={"can": Capabilities(guidance="none", negative_prompt=False, samplers=("Euler",), max_side=512)}
    )
    assert find_unsupported_fields(unable) == NEEDS.keys() - INPUT_IMAGES.keys()
    assert not supports_field(unable, "mask_image") and supports_field(unable, "prompt")


def test_a_field_that_requires_another_is_refused_without_it() -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_request({"prompt": "x", "strength": 0.5})
    assert (refused.value.field, refused.value.problem) == ("strength", "needs an init_image")


def test_the_start_image_is_named_in_its_definition_and_where_names_are_mapped() -> None:
    files = [file.relative_to(ROOT) for folder in ("imagegen", "ui") for file in (ROOT / folder).rglob("*.py")]
    named = {str(file) for file in files if '"init_image"' in (ROOT / file).read_text(encoding="utf-8")}
    assert {name for name in named if not name.startswith(NAMES_THE_START_IMAGE)} == set()
