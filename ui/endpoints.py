"""The Gradio endpoints for programs, one for each task, with the request's fields as parameters."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, get_args, get_origin, get_type_hints

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component
from pydantic import BaseModel

from imagegen.errors import JobCancelled, RemoteError
from imagegen.schema.event_texts import describe_event
from imagegen.schema.events import Failed, Loading, Progress, Queued, Result, Started
from imagegen.schema.request import INPUT_IMAGES, GenerationRequest, list_image_fields, list_task_fields
from imagegen.schema.tasks import TASKS, Task, TaskName
from imagegen.schema.validation import parse_request
from imagegen.service import Service
from ui.gradio_request import build_connection_check, get_user
from ui.messages import raise_as_gradio_error
from ui.uploaded_images import store_uploads

Endpoint = Callable[..., Awaitable[tuple[Any, Any]]]

RESULT_DOCS = (("image_file", "The PNG file, with the receipt inside."), ("receipt", "All that decided the picture."))
GenerationOutput = tuple[gr.FileData | list[gr.FileData], dict[str, Any] | list[dict[str, Any]]]
RETURNS_HELP = "Returns the picture and its receipt; of several pictures, a list of each."


def add_generation_endpoints(service: Service, demo: gr.Blocks) -> None:
    for name, task in TASKS.items():
        fields = order_parameters(name)
        added = gr.api(build_endpoint(service, name, fields), api_name=task.endpoint)
        function = demo.fns[added["id"]]
        for control, field in zip(function.inputs, fields, strict=True):
            document_component(control, field, GenerationRequest.model_fields[field].description)
        for control, result in zip(function.outputs, RESULT_DOCS, strict=True):
            document_component(control, *result)


def order_parameters(task: TaskName) -> tuple[str, ...]:
    """Returns a task's fields in the order of the parameters: the prompt, the input pictures, and then the others.

    Of the others, those that require a picture come first.
    """
    own = list_task_fields(task)
    first = [field for field in own if field == "prompt"]
    image_fields = sorted(list_image_fields(task), key=lambda field: field not in INPUT_IMAGES)
    return (*first, *image_fields, *(field for field in own if field not in (*first, *image_fields)))


def build_endpoint(service: Service, task: TaskName, fields: tuple[str, ...]) -> Endpoint:
    """Returns a function with the request's fields as its parameters, from which Gradio takes names and types."""

    async def call(*arguments: Any) -> tuple[Any, Any]:
        *values, http = arguments
        with raise_as_gradio_error():
            return await generate_pictures(service, task, dict(zip(fields, values, strict=True)), http)

    help_texts = {field: GenerationRequest.model_fields[field].description or "" for field in fields}
    set_signature(
        call,
        TASKS[task].endpoint,
        f"{TASKS[task].summary}\n{RETURNS_HELP}",
        [build_parameter(field, TASKS[task]) for field in fields],
        help_texts,
        GenerationOutput,
    )
    return call


async def generate_pictures(
    service: Service, task: TaskName, fields: dict[str, Any], http: gr.Request
) -> tuple[Any, Any]:
    progress = gr.Progress()
    user = get_user(http)
    with service.count_invalid_request(user):
        request = parse_request(await store_uploads(service, fields, user), task)
        generation = service.generate(request, user, is_connected=build_connection_check())
        async with aclosing(generation) as events:
            async for event in events:
                match event:
                    case Queued() | Started() | Loading():
                        progress(0, desc=describe_event(event))
                    case Progress():
                        progress((event.step, event.steps), desc=describe_event(event), unit="steps")
                    case Result():
                        return to_files_and_receipts(event, service)
                    case Failed():
                        raise RemoteError(event.code, event.message)
    raise JobCancelled


def to_files_and_receipts(result: Result, service: Service) -> tuple[Any, Any]:
    files = [
        gr.FileData(path=str(service.images.picture_path(picture.id)), mime_type="image/png").model_dump()
        for picture in result.pictures
    ]
    receipts = [picture.receipt.model_dump() for picture in result.pictures]
    return (files[0], receipts[0]) if len(files) == 1 else (files, receipts)


def build_parameter(name: str, task: Task) -> inspect.Parameter:
    field = GenerationRequest.model_fields[name]
    annotation = get_type_hints(GenerationRequest)[name]
    default = inspect.Parameter.empty if name in task.required_fields else task.defaults.get(name, field.default)
    if get_origin(annotation) is tuple:
        annotation, default = build_list_type(annotation), []
    if name in INPUT_IMAGES:
        annotation, default = gr.FileData, inspect.Parameter.empty
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)


def build_list_type(annotation: Any) -> Any:
    """Returns the type of a list as one that Gradio has a JSON schema for."""
    entry = get_args(annotation)[0]
    return list[dict[str, Any]] if isinstance(entry, type) and issubclass(entry, BaseModel) else list[str]


def document_component(control: Block, label: str, description: str | None) -> None:
    """Sets the label and the help text for Gradio's page about the API."""
    assert isinstance(control, Component)
    control.label = label
    control.api_info()["additional_description"] = description


def set_signature(
    call: Any, name: str, summary: str, parameters: list[inspect.Parameter], help_texts: dict[str, str], returns: Any
) -> None:
    """Sets the name, the docstring and the signature that Gradio reads."""
    arguments = "".join(f"\n    {parameter.name}: {help_texts[parameter.name]}" for parameter in parameters)
    call.__name__, call.__doc__ = name, f"{summary}\n\nArgs:{arguments}" if arguments else summary
    http = inspect.Parameter("http", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=gr.Request)
    call.__signature__ = inspect.Signature([*parameters, http], return_annotation=returns)
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in [*parameters, http]}
