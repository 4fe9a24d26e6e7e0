"""Keeps the values of a form in the browser, so that a reload loses nothing, and fills a form from a link."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gradio as gr

from imagegen.errors import InvalidRequest
from imagegen.schema.field_types import MAX_LORAS
from ui.components.events import LAST_EVENT, UNQUEUED_EVENT
from ui.forms import Form

MAX_LINK_CHARACTERS = 20_000


class SavedForm:
    """Saves the form in the browser. The values are of one user: another one does not get them."""

    def __init__(self, form: Form) -> None:
        self.form = form
        # Gradio encrypts the value with this. It is no secret: the page of each visitor has it.
        self.values = gr.BrowserState(None, storage_key="studio-form", secret="studio")  # noqa: S106
        self.user = gr.Textbox("", visible="hidden")

    def connect(self) -> None:
        """Saves whenever a value changes, once the form has been restored: the user is not known before."""
        controls = {"tool": self.form.tool, **self.form.controls}
        controls |= {name_weight(place): slider for place, slider in enumerate(self.form.weight_sliders)}
        # Of a picture, only its place on the server.
        value = "values[index]?.path ? { path: values[index].path } : values[index]"
        entries = f"{json.dumps(list(controls))}.map((name, index) => [name, {value}])"
        gr.on(
            [self.user.change, *(control.change for control in controls.values())],  # type: ignore[attr-defined]
            None,
            [self.user, self.values, *controls.values()],
            [self.values],
            js=f"(user, saved, ...values) => user ? {{ user, ...Object.fromEntries({entries}) }} : saved",
            **UNQUEUED_EVENT,
            **LAST_EVENT,
        )


def name_weight(place: int) -> str:
    """Returns the name under which the weight of the LoRA at a place is saved."""
    return f"weight {place}"


def read_saved_fields(saved: Any, user_id: str) -> dict[str, Any]:
    """Returns the fields that the same user left in the form, unchecked."""
    if not isinstance(saved, Mapping) or saved.get("user") != user_id:
        return {}
    weights = [saved.get(name_weight(place)) for place in range(MAX_LORAS)]
    names = saved.get("loras")
    loras = [
        {"lora": name, "weight": weight}
        for name, weight in zip(names if isinstance(names, list) else [], weights, strict=False)
    ]
    return {**saved, "loras": loras}


def read_linked_fields(query: Mapping[str, str]) -> dict[str, Any]:
    """Returns the fields of a link such as `/?request={"prompt":"a boat"}`, unchecked. Raises InvalidRequest."""
    text = query.get("request", "")
    if not text:
        return {}
    try:
        fields = json.loads(text) if len(text) <= MAX_LINK_CHARACTERS else None
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise InvalidRequest("request", 'must be a JSON object of fields, such as {"prompt": "a boat"}')
    return fields
