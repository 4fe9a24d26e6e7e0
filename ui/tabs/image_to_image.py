"""The tab where a picture and words become another picture."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from imagegen.info import ModelInfo
from imagegen.service import Service
from ui import stage
from ui.forms import Form, Updates, field_schema, with_value
from ui.stack import AS_IT_IS, AT_ONCE
from ui.tabs.generation import PictureArea, Shelf, run_buttons, usual_controls
from ui.uploads import stored_upload
from ui.visitors import user_of
from ui.wording import message_of


def image_to_image(service: Service) -> PictureArea:
    form = Form(service)
    with gr.Tab("Image to image", id="image-to-image") as tab, gr.Row(elem_classes="workbench"):
        with gr.Column(elem_classes="controls"):
            image = form.image("init_image", sources=["upload", "clipboard"], height=220, elem_classes="start")
            form.textbox("prompt", lines=3, max_lines=8, elem_classes="prompt")
            run, stop = run_buttons()
            usual_controls(form, strength=True)
        area = PictureArea(service, form, tab, send="Start from this picture")
    area.connect(run, stop)
    connect_upload(service, area, image)
    return area


def connect_upload(service: Service, area: PictureArea, image: gr.Image) -> None:
    """Shows an upload as the model will see it, upright and whole, or tells at once why it cannot be used."""
    width, height, chosen = (area.form.controls[name] for name in ("width", "height", "model"))

    async def receive(file: Any, reference: str, http: gr.Request) -> Updates:
        try:
            image_id = await stored_upload(service, file, user_of(http))
            model, _ = await asyncio.to_thread(service.stock.model, reference)
        except Exception as error:
            return {image: None, area.status: stage.told("failed", message_of(error))}
        stored = service.images.input_path(image_id)
        sides = sides_like(stored, model)
        return {image: str(stored), area.status: stage.idle(), width: sides[0], height: sides[1]}

    image.upload(receive, [image, chosen], [image, area.status, width, height], preprocess=False, **AT_ONCE)


def sides_like(file: Path, model: ModelInfo) -> tuple[int, int]:
    """Sides in the proportions of a picture, with about as many pixels as the model likes."""
    with Image.open(file) as picture:
        proportion = picture.width / picture.height
    width = (model.width * model.height * proportion) ** 0.5
    return allowed_side(width, model), allowed_side(width / proportion, model)


def allowed_side(side: float, model: ModelInfo) -> int:
    smallest = field_schema("width")["minimum"]
    step = model.can.multiple
    return int(min(max(round(side / step) * step, smallest), model.can.max_side))


def connect_send(source: PictureArea, target: PictureArea, tabs: gr.Tabs) -> None:
    """Lets the picture on one stage become the start of the next, with its model, its size and its words."""
    names = ("prompt", "negative_prompt", "width", "height")
    form = target.form

    async def send(shelf: Shelf, model: str) -> Updates:
        if shelf.picture is None:
            return {tabs: gr.skip()}
        receipt = shelf.picture.receipt
        shown, updates = await form.choices(receipt.model_id)
        updates |= await form.suited(shown, defaults=shown != model)
        for name in names:
            control = form.controls[name]
            updates[control] = with_value(updates.get(control), getattr(receipt, name))
        file = str(source.service.images.path(shelf.picture.id))
        return {tabs: gr.Tabs(selected="image-to-image"), **updates, form.controls["init_image"]: file}

    source.send.click(send, [source.shelf, form.controls["model"]], [tabs, *form.outputs], **AS_IT_IS)
