"""Fills the form with the settings of a picture file that is dropped on the page, or chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from pydantic import ValidationError

from imagegen.errors import ImageGenError, InvalidRequest
from imagegen.languages.translation import translate
from imagegen.schema.models import MODEL_DEFAULT_FIELDS
from imagegen.schema.picture_settings import PictureSettings
from imagegen.schema.request import INPUT_IMAGES
from imagegen.schema.tasks import find_task
from ui.components import status_html
from ui.components.events import UNQUEUED_EVENT
from ui.components.picture_settings_html import render_picture_settings
from ui.components.script_bridge import ScriptBridge
from ui.control_updates import Updates
from ui.forms import Form
from ui.gradio_request import get_user
from ui.messages import describe_problem
from ui.workspace.page_state import PageState
from ui.workspace.start_images import StartImages
from ui.workspace.undo import FormUndo


class PictureReading:
    """picture_reading.js sends a file to `POST /v1/png_info`, and the answer to `fill`."""

    def __init__(self, form: Form, undo: FormUndo, start_images: StartImages, report: gr.HTML) -> None:
        self.form, self.undo, self.start_images, self.report = form, undo, start_images, report
        self.bridge = ScriptBridge("picture-settings", "fill", "close")

    def connect(self, state: gr.State, pages: gr.Tabs, tab_id: str) -> None:
        async def fill(http: gr.Request, text: str, state: PageState, *values: Any) -> Updates:
            return {pages: gr.Tabs(selected=tab_id), **await self.fill(text, http, state, values)}

        inputs = [state, *self.form.inputs]
        self.bridge.connect("fill", fill, inputs, [pages, self.report, *self.undo.outputs])
        self.bridge.connect("close", lambda _: "", [], [self.report])
        self.undo.button.click(None, None, self.report, js="() => ''", **UNQUEUED_EVENT)

    async def fill(self, text: str, http: gr.Request, state: PageState, values: tuple[Any, ...]) -> Updates:
        """Returns the updates that fill the form, and the list of what was read. `text` is the answer of png_info."""
        try:
            read = parse_answer(text)
            if read.tool is None:
                idle = translate("This picture does not say how it was made.")
                return {self.report: "", self.undo.status: status_html.render_status("done", idle)}
            fields = await self.start_images.restore(read.settings, get_user(http), state)
            fields = {**self.list_defaults(values), **fields}
            updates = await self.form.fill_from_fields(fields)
        except ImageGenError as error:
            return {self.undo.status: status_html.render_problem(describe_problem(error))}
        updates |= self.form.choose_task(find_task(set(read.settings)))
        offer = self.undo.offer(updates, values, translate("The settings are those of the picture."))
        return {**offer, self.report: render_picture_settings(read)}

    def list_defaults(self, values: tuple[Any, ...]) -> Mapping[str, Any]:
        """Returns what the form shows for fields that the picture does not have, with the model that is selected."""
        names = list(self.form.controls)
        own = [name for name in names if name not in (*MODEL_DEFAULT_FIELDS, *INPUT_IMAGES)]
        defaults = {name: to_shown_value(self.form.get_default(name)) for name in own}
        return {**defaults, "model": values[1 + names.index("model")]}


def parse_answer(text: str) -> PictureSettings:
    """Raises InvalidRequest for what is no answer of png_info."""
    try:
        return PictureSettings.model_validate_json(text)
    except ValidationError:
        raise InvalidRequest("image", "cannot be used") from None


def to_shown_value(value: Any) -> Any:
    """Returns a default as a control takes it: empty texts for fields that stay open, lists for tuples."""
    if isinstance(value, tuple):
        return list(value)
    return "" if value is None else value
