"""The endpoints for programs, made from the request as the page's forms are."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, get_type_hints

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from imagegen.errors import Told, WasCancelled
from imagegen.images import ImageStore
from imagegen.schema import Failed, GenerationRequest, Loading, Progress, Queued, Result, Started, TextToImage
from imagegen.service import Service
from imagegen.validation import parse_request
from ui.uploads import stored_upload
from ui.visitors import user_of, while_watched
from ui.wording import describe, refused

Endpoint = Callable[..., Awaitable[tuple[Any, Any]]]

IMAGE_FIELDS = ("init_image", "strength")
TEXT_FIELDS = tuple(TextToImage.model_fields)
ENDPOINTS = {
    "txt2img": ("Paints a picture from a prompt.", TEXT_FIELDS),
    "img2img": ("Paints a picture anew, from it and a prompt.", (TEXT_FIELDS[0], *IMAGE_FIELDS, *TEXT_FIELDS[1:])),
}
RESULTS = (("image_file", "The PNG file, with the receipt inside."), ("receipt", "All that decided the picture."))
PICTURES = tuple[gr.FileData | list[gr.FileData], dict[str, Any] | list[dict[str, Any]]]
# What Gradio has no JSON schema for, as what it has one for.
LISTS = {"loras": list[dict[str, Any]], "embeddings": list[str], "more_prompts": list[str]}
RETURNS = "Returns the picture and its receipt; of several pictures, a list of each."


def add_endpoints(service: Service, demo: gr.Blocks) -> None:
    for name, (summary, fields) in ENDPOINTS.items():
        added = gr.api(endpoint(service, name, summary, fields), api_name=name)
        function = demo.fns[added["id"]]
        for control, field in zip(function.inputs, fields, strict=True):
            document(control, field, GenerationRequest.model_fields[field].description)
        for control, result in zip(function.outputs, RESULTS, strict=True):
            document(control, *result)


def endpoint(service: Service, name: str, summary: str, fields: tuple[str, ...]) -> Endpoint:
    """A function with the request's fields as its parameters, which is where Gradio looks for names and types."""

    async def call(*arguments: Any) -> tuple[Any, Any]:
        *values, http = arguments
        with refused():
            return await generate(service, dict(zip(fields, values, strict=True)), http)

    help_texts = {field: GenerationRequest.model_fields[field].description or "" for field in fields}
    publish(call, name, f"{summary}\n{RETURNS}", [parameter(field) for field in fields], help_texts, PICTURES)
    return call


async def generate(service: Service, fields: dict[str, Any], http: gr.Request) -> tuple[Any, Any]:
    progress = gr.Progress()
    user = user_of(http)
    if "init_image" in fields:
        fields["init_image"] = await stored_upload(service, fields["init_image"], user)
    request = parse_request(fields)
    async with aclosing(while_watched(service.generate(request, user))) as events:
        async for event in events:
            match event:
                case Queued() | Started() | Loading():
                    progress(0, desc=describe(event))
                case Progress():
                    progress((event.step, event.steps), desc=describe(event), unit="steps")
                case Result():
                    return files_and_receipts(event, service.images)
                case Failed():
                    raise Told(event.code, event.message)
    raise WasCancelled


def files_and_receipts(result: Result, images: ImageStore) -> tuple[Any, Any]:
    files = [
        gr.FileData(path=str(images.path(picture.id)), mime_type="image/png").model_dump()
        for picture in result.pictures
    ]
    receipts = [picture.receipt.model_dump() for picture in result.pictures]
    return (files[0], receipts[0]) if len(files) == 1 else (files, receipts)


def parameter(name: str) -> inspect.Parameter:
    field = GenerationRequest.model_fields[name]
    annotation = get_type_hints(GenerationRequest)[name]
    default = inspect.Parameter.empty if field.is_required() else field.default
    if name in LISTS:
        annotation, default = LISTS[name], []
    if name == "init_image":
        annotation, default = gr.FileData, inspect.Parameter.empty
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)


def document(control: Block, label: str, description: str | None) -> None:
    """Gradio's page about the API calls parameters "1st" and "2nd", and has no word on them, unless told."""
    assert isinstance(control, Component)
    control.label = label
    control.api_info()["additional_description"] = description


def publish(
    call: Any, name: str, summary: str, parameters: list[inspect.Parameter], help_texts: dict[str, str], returns: Any
) -> None:
    """Gives a function the name, the words and the types that Gradio and MCP look for."""
    arguments = "".join(f"\n    {parameter.name}: {help_texts[parameter.name]}" for parameter in parameters)
    call.__name__, call.__doc__ = name, f"{summary}\n\nArgs:{arguments}" if arguments else summary
    http = inspect.Parameter("http", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=gr.Request)
    call.__signature__ = inspect.Signature([*parameters, http], return_annotation=returns)
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in [*parameters, http]}
