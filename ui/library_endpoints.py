"""The endpoint for programs that search the library."""

from __future__ import annotations

from inspect import Parameter
from typing import Any, get_args, get_type_hints

import gradio as gr

from imagegen.schema.pictures import PictureQuery
from imagegen.schema.validation import parse_model
from imagegen.service import Service
from ui.endpoints import document_component, set_signature
from ui.gradio_request import get_user
from ui.messages import raise_as_gradio_error

NAME, SUMMARY = "list_pictures", "Lists your pictures, newest first, and the value of `after` for the next page."


def add_library_endpoints(service: Service, demo: gr.Blocks) -> None:
    async def call(*arguments: Any) -> dict[str, Any]:
        *values, http = arguments
        with raise_as_gradio_error():
            fields = {name: value for name, value in zip(PictureQuery.model_fields, values, strict=True) if value != ""}
            query = parse_model(PictureQuery, fields)
            return (await service.pictures.search(query, get_user(http))).model_dump()

    help_texts = {name: field.description or "" for name, field in PictureQuery.model_fields.items()}
    parameters = [build_parameter(name) for name in PictureQuery.model_fields]
    set_signature(call, NAME, SUMMARY, parameters, help_texts, dict[str, Any])
    function = demo.fns[gr.api(call, api_name=NAME)["id"]]
    for control, (label, text) in zip(function.inputs, help_texts.items(), strict=True):
        document_component(control, label, text)
    for control in function.outputs:
        document_component(control, "page", None)


def build_parameter(name: str) -> Parameter:
    """Returns a parameter with a type that Gradio has a control for; times are texts."""
    hint = get_type_hints(PictureQuery)[name]
    plain = next((each for each in (hint, *get_args(hint)) if each in (str, int, bool)), str)
    return Parameter(
        name, Parameter.POSITIONAL_OR_KEYWORD, default=PictureQuery.model_fields[name].default, annotation=plain
    )
