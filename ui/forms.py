"""Controls for a request: the tab decides the layout, the request decides names, ranges and help."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, TypeVar

import gradio as gr
from gradio.components import Component

from imagegen.images import ImageStore
from imagegen.schema import GenerationRequest, ModelInfo, Receipt
from imagegen.validation import parse_request
from ui.uploads import stored_upload

C = TypeVar("C", bound=Component)


class Form:
    """The fields of a request that one tab offers. What the request leaves to the model shows the model's default.

    The controls hand over what they hold unchecked, so that there is one place that checks and one wording.
    """

    def __init__(self, model: ModelInfo, images: ImageStore) -> None:
        self.images = images
        self.controls: dict[str, Component] = {}
        self._numbers: set[str] = set()
        self._defaults = {name: field.default for name, field in GenerationRequest.model_fields.items()}
        self._defaults |= model.model_dump(include=set(self._defaults))

    def textbox(self, name: str, **options: Any) -> gr.Textbox:
        return self._add(name, gr.Textbox, **options)

    def number(self, name: str, **options: Any) -> gr.Textbox:
        """A whole number that may stay open. Gradio's own control for numbers shows 0 when it is empty."""
        self._numbers.add(name)
        return self._add(name, gr.Textbox, **options)

    def slider(self, name: str, step: float, **options: Any) -> gr.Slider:
        limits = field_schema(name)
        options = {"minimum": limits.get("minimum", step), "maximum": limits["maximum"]} | options
        return self._add(name, gr.Slider, step=step, **options)

    def dropdown(self, name: str, **options: Any) -> gr.Dropdown:
        return self._add(name, gr.Dropdown, choices=field_schema(name)["enum"], **options)

    def image(self, name: str, **options: Any) -> gr.Image:
        return self._add(name, gr.Image, type="filepath", image_mode=None, buttons=[], **options)

    @property
    def inputs(self) -> list[Component]:
        return list(self.controls.values())

    async def request(self, values: Sequence[Any]) -> GenerationRequest:
        """The request that the controls hold. Raises InvalidRequest."""
        fields = dict(zip(self.controls, values, strict=True))
        fields |= {name: typed_number(fields[name]) for name in self._numbers}
        if "init_image" in fields:
            fields["init_image"] = await stored_upload(self.images, fields["init_image"])
        return parse_request(fields)

    def filled(self, receipt: Receipt) -> dict[Component, Any]:
        """What the controls must hold to make that one picture again."""
        values = receipt.model_dump() | {"batch_size": 1}
        if receipt.init_image is not None:
            values["init_image"] = str(self.images.input_path(receipt.init_image))
        return {control: values[name] for name, control in self.controls.items()}

    def _add(self, name: str, component: type[C], **options: Any) -> C:
        facts = {
            "label": name.replace("_", " ").capitalize(),
            "info": GenerationRequest.model_fields[name].description,
            "value": self._defaults[name],
        }
        if GenerationRequest.model_fields[name].is_required():
            del facts["value"]
        known = inspect.signature(component.__init__).parameters
        control = component(**{fact: value for fact, value in facts.items() if fact in known} | options)
        self.controls[name] = control
        return control


def typed_number(text: str | None) -> int | str | None:
    """What is no number stays text, for the request to refuse."""
    text = (text or "").strip()
    try:
        return int(text) if text else None
    except ValueError:
        return text


def field_schema(name: str) -> dict[str, Any]:
    """The limits of a field as JSON Schema has them; of one that may stay open, the limits for when it does not."""
    schema: dict[str, Any] = GenerationRequest.model_json_schema()["properties"][name]
    return next((option for option in schema.get("anyOf", []) if option["type"] != "null"), schema)
