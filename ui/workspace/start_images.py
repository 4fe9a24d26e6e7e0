"""The input pictures of the form: uploads, and pictures of the user that are sent to a tool."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from imagegen.errors import ImageGenError
from imagegen.languages.translation import translate
from imagegen.schema.base import User
from imagegen.schema.models import ModelInfo
from imagegen.schema.receipt import Picture
from imagegen.schema.request import INPUT_IMAGES
from imagegen.schema.sizes import Size
from imagegen.schema.start_size import fit_size
from imagegen.schema.tasks import TASKS, TaskName
from imagegen.service import Service
from ui.components import status_html
from ui.components.events import LAST_EVENT, UNCHECKED_EVENT, UNQUEUED_EVENT
from ui.control_updates import Updates, set_update_value
from ui.forms import MASKS, Form, list_shown_fields, parse_task
from ui.gradio_request import get_user
from ui.messages import describe_problem
from ui.uploaded_images import store_upload
from ui.workspace.page_state import PageState
from ui.workspace.undo import FormUndo

# Fields of a sent picture that the form takes over.
COPIED_FIELDS = ("prompt", "negative_prompt", "width", "height")


# The fields for pictures from which others are painted.
PAINTED_FROM = {field for task in TASKS.values() if task.paints for field in task.input_images}


class StartImages:
    def __init__(self, service: Service, form: Form, undo: FormUndo) -> None:
        self.service, self.form, self.undo = service, form, undo

    def connect(self, state: gr.State) -> None:
        for field in INPUT_IMAGES & self.form.controls.keys():
            image = self.form.controls[field]
            if isinstance(image, gr.Image):
                self._connect_field(field, image, state)

    def _connect_field(self, field: str, image: gr.Image, state: gr.State) -> None:

        async def accept_upload(http: gr.Request, state: PageState, *values: Any) -> Updates:
            return await self.accept_upload(field, get_user(http), state, values)

        def forget(state: PageState) -> None:
            state.start_images.pop(field, None)

        image.upload(accept_upload, [state, *self.form.inputs], self.undo.outputs, **UNCHECKED_EVENT, **LAST_EVENT)
        image.clear(forget, [state], None, **UNQUEUED_EVENT, **LAST_EVENT)

    async def accept_upload(self, field: str, user: User, state: PageState, values: tuple[Any, ...]) -> Updates:
        """Shows an upload as it is stored, upright and whole, or at once the reason why it cannot be used."""
        form, names = self.form, ["tool", *self.form.controls]
        place = names.index(field)
        image, width, height = (form.controls[name] for name in (field, "width", "height"))
        try:
            image_id = await store_upload(self.service, values[place], user, field)
            reference = values[names.index("model")]
            model, _ = await asyncio.to_thread(self.service.model_manager.resolve_model, reference)
        except Exception as error:
            return {image: None, self.undo.status: status_html.render_problem(describe_problem(error))}
        path = self.service.images.input_path(image_id)
        updates: Updates = {image: str(path)}
        text = translate("Your picture is there.")
        task = parse_task(values[0])
        if field in PAINTED_FROM and "width" in list_shown_fields(task):
            sides = await asyncio.to_thread(fit_size_to_file, path, task, model)
            updates |= {width: sides[0], height: sides[1]}
            size = f"{sides[0]} \N{MULTIPLICATION SIGN} {sides[1]}"
            text = translate("Your picture will be painted at {size}.", size=size)
        earlier = state.start_images.get(field)
        before = [*values[:place], earlier and {"path": earlier}, *values[place + 1 :]]
        state.start_images[field] = str(path)
        return self.undo.offer(updates, before, text)

    async def send(self, picture: Picture, task: TaskName, model: str, state: PageState) -> Updates:
        """Returns the updates that make a picture the start image of a task, with its model, size and prompts.

        `model` is the one that is selected. Raises InvalidRequest.
        """
        form, receipt = self.form, picture.receipt
        field = TASKS[task].input_images[0]
        path = str(form.images.picture_path(picture.id))
        state.start_images[field] = path
        own = {form.controls[name]: value for name, value in TASKS[task].own_values.items()}
        shown = {**own, **form.choose_task(task), form.controls[field]: path}
        if not TASKS[task].paints:
            return shown
        selected_model, updates = await form.list_model_choices(receipt.model_id or model)
        updates |= await form.adapt_to_model(selected_model, defaults=selected_model != model)
        copied: dict[str, Any] = {name: getattr(receipt, name) for name in COPIED_FIELDS}
        if receipt.model_id is None:  # Nobody chose its size.
            info, _ = await asyncio.to_thread(self.service.model_manager.resolve_model, selected_model)
            copied["width"], copied["height"] = await asyncio.to_thread(fit_size_to_file, Path(path), task, info)
        for name, value in copied.items():
            control = form.controls[name]
            updates[control] = set_update_value(updates.get(control), value)
        return {**updates, **shown}

    async def restore(self, fields: Mapping[str, Any], user: User, state: PageState) -> dict[str, Any]:
        """Returns fields of an earlier visit or of a link, with the input pictures that are still there.

        Of a mask that is the id, of the others the file.

        A picture is named by its id, or by the path that the page had for it.
        """
        restored = {name: value for name, value in fields.items() if name not in INPUT_IMAGES}
        for name in INPUT_IMAGES & fields.keys():
            value = fields[name]
            file = {"path": str(self.service.images.input_path(value))} if isinstance(value, str) else value
            with suppress(ImageGenError):
                image_id = await store_upload(self.service, file, user, name)
                if name in MASKS:
                    restored[name] = image_id
                    continue
                restored[name] = state.start_images[name] = str(self.service.images.input_path(image_id))
        return restored


def fit_size_to_file(file: Path, task: TaskName, model: ModelInfo) -> Size:
    """Returns the width and height that a task has by default with a picture in a file."""
    with Image.open(file) as picture:
        return fit_size(picture.size, task, model)
