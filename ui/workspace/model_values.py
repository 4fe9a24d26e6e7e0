"""Remembers the values that a user chose for each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from imagegen.schema.models import MODEL_DEFAULT_FIELDS
from ui.components.events import LAST_EVENT, UNCHECKED_EVENT
from ui.control_updates import Updates, set_update_value
from ui.forms import Form, is_shown_by

# The models whose values are remembered: those that were left last.
MAX_MODELS = 50


class ModelValues:
    """When a user chooses a model again, the form gets the values that it last had with this model."""

    def __init__(self, form: Form) -> None:
        self.form = form
        # Gradio encrypts the value with this. It is no secret: the page of each visitor has it.
        self.remembered = gr.BrowserState({}, storage_key="studio-model-values", secret="studio")  # noqa: S106

    def connect(self) -> None:
        model, loras = self.form.controls["model"], self.form.controls["loras"]
        assert isinstance(model, gr.Dropdown)
        values = [self.form.controls[name] for name in MODEL_DEFAULT_FIELDS]
        model.input(
            self.change_model,
            [model, loras, self.form.suited_model, self.remembered, *values],
            [self.remembered, *self.form.outputs],
            **UNCHECKED_EVENT,
            **LAST_EVENT,
        )

    async def change_model(
        self, model: str, loras: list[str], previous_model: str, remembered: Any, *values: Any
    ) -> Updates:
        """Returns the updates for a chosen model. Gradio also calls this when the list is left without a choice."""
        if model == previous_model:
            return {self.form.suited_model: gr.skip()}
        updates = await self.form.adapt_to_model(model, selected_loras=loras, defaults=True)
        known = remembered if isinstance(remembered, Mapping) else {}
        earlier = known.get(model)
        for name, value in (earlier if isinstance(earlier, Mapping) else {}).items():
            control = self.form.controls.get(name)
            if (
                control is not None
                and name in MODEL_DEFAULT_FIELDS
                and is_shown_by(value, control, updates.get(control))
            ):
                updates[control] = set_update_value(updates.get(control), value)
        return {**updates, self.remembered: remember(known, previous_model, values)}


def remember(known: Mapping[str, Any], model: str, values: Sequence[Any]) -> dict[str, Any]:
    """Returns what is known, with the values of a model as the newest."""
    others = {name: entry for name, entry in known.items() if name != model}
    kept = list(others.items())[-(MAX_MODELS - 1) :]
    return {**dict(kept), model: dict(zip(MODEL_DEFAULT_FIELDS, values, strict=True))}
