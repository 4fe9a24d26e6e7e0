"""The tab where a picture and words become another picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from imagegen.schema import ModelInfo
from imagegen.service import Service
from ui import stage
from ui.forms import Form, field_schema
from ui.tabs.generation import AT_ONCE, PictureArea, Shelf, Updates, run_buttons, usual_controls
from ui.uploads import stored_upload
from ui.wording import message_of


def image_to_image(service: Service) -> PictureArea:
    form = Form(service.model, service.images)
    with gr.Tab("Image to image", id="image-to-image"), gr.Row(elem_classes="workbench"):
        with gr.Column(elem_classes="controls"):
            image = form.image("init_image", sources=["upload", "clipboard"], height=220, elem_classes="start")
            form.textbox("prompt", lines=3, max_lines=8, elem_classes="prompt")
            run, stop = run_buttons()
            usual_controls(form, service.model.max_side, strength=True)
        area = PictureArea(service, form, send="Start from this picture")
    area.connect(run, stop)
    connect_upload(service, area, image)
    return area


def connect_upload(service: Service, area: PictureArea, image: gr.Image) -> None:
    """Shows an upload as the model will see it, upright and whole, or tells at once why it cannot be used."""
    width, height = area.form.controls["width"], area.form.controls["height"]

    async def receive(file: Any) -> Updates:
        try:
            image_id = await stored_upload(service.images, file)
        except Exception as error:
            return {image: None, area.status: stage.told("failed", message_of(error))}
        stored = service.images.input_path(image_id)
        sides = sides_like(stored, service.model)
        return {image: str(stored), area.status: stage.idle(), width: sides[0], height: sides[1]}

    image.upload(receive, [image], [image, area.status, width, height], preprocess=False, **AT_ONCE)


def sides_like(file: Path, model: ModelInfo) -> tuple[int, int]:
    """Sides in the proportions of a picture, with about as many pixels as the model likes."""
    with Image.open(file) as picture:
        proportion = picture.width / picture.height
    width = (model.width * model.height * proportion) ** 0.5
    return allowed_side(width, model), allowed_side(width / proportion, model)


def allowed_side(side: float, model: ModelInfo) -> int:
    smallest = field_schema("width")["minimum"]
    return int(min(max(round(side / 8) * 8, smallest), model.max_side))


def connect_send(source: PictureArea, target: PictureArea, tabs: gr.Tabs) -> None:
    """Lets the picture on one stage become the start of the next, with its size and the words that made it."""
    names = ("prompt", "negative_prompt", "width", "height")
    controls = [target.form.controls[name] for name in ("init_image", *names)]

    async def send(shelf: Shelf) -> Any:
        if shelf.picture is None:
            return gr.skip()
        file = str(source.service.images.path(shelf.picture.id))
        return gr.Tabs(selected="image-to-image"), file, *(getattr(shelf.picture.receipt, name) for name in names)

    source.send.click(send, [source.shelf], [tabs, *controls], **AT_ONCE)
