"""Brings back what was in the form before a button replaced it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from imagegen.errors import ImageGenError
from imagegen.languages.translation import translate
from ui.components import status_html
from ui.components.events import UNCHECKED_EVENT
from ui.control_updates import Updates
from ui.forms import Form
from ui.messages import describe_problem


class FormUndo:
    """Keeps the values of the form's inputs from before the last replacement."""

    def __init__(self, form: Form, status: gr.HTML) -> None:
        self.form, self.status = form, status
        self.before: gr.State = gr.State(None)
        # The button in the status line clicks this one.
        self.button = gr.Button("Undo", visible="hidden", elem_id="form-undo")

    @property
    def outputs(self) -> list[Any]:
        return [self.before, self.status, *self.form.outputs]

    def connect(self) -> None:
        self.button.click(self.undo, [self.before], self.outputs, **UNCHECKED_EVENT)

    def offer(self, updates: Updates, before: Sequence[Any], text: str) -> Updates:
        """Returns the updates that replace values, with a text and a button that brings back those of `before`."""
        return {**updates, self.before: list(before), self.status: status_html.render_undo(text)}

    async def undo(self, before: list[Any] | None) -> Updates:
        if before is None:
            return {self.before: None}
        try:
            updates = await self.form.restore_values(before)
        except ImageGenError as error:
            return {self.status: status_html.render_problem(describe_problem(error))}
        return {**updates, self.before: None, self.status: status_html.render_status("done", translate("Undone"))}
