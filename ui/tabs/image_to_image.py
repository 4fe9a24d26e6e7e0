"""The tab where a picture and words become another picture."""

from __future__ import annotations

from typing import Any

import gradio as gr

from imagegen.errors import InvalidRequest
from imagegen.service import Service
from ui import stage
from ui.forms import Form
from ui.tabs.generation import QUIET, PictureArea, Shelf, run_buttons, usual_controls
from ui.uploads import stored_upload


def image_to_image(service: Service) -> PictureArea:
    form = Form(service.model, service.images)
    with gr.Tab("Image to image", id="image"), gr.Row(elem_classes="workbench"):
        with gr.Column(elem_classes="controls"):
            image = form.image("init_image", sources=["upload", "clipboard"], buttons=[], height=220, elem_classes="start")
            form.textbox("prompt", lines=3, max_lines=8, elem_classes="prompt")
            run, stop = run_buttons()
            form.slider("strength", step=0.05)
            usual_controls(form, service.model.max_side)
        area = PictureArea(service, form)
    area.connect(run, stop)

    async def normalise(file: Any) -> dict[Any, Any]:
        """Shows an upload as the model will see it, or says at once why it cannot be used."""
        try:
            image_id = await stored_upload(service.images, file)
        except InvalidRequest as error:
            return {image: None, area.status: stage.told("failed", str(error))}
        return {image: str(service.images.input_path(image_id)), area.status: stage.idle()}

    image.upload(normalise, image, [image, area.status], preprocess=False, **QUIET)
    return area


def connect_send(source: PictureArea, target: PictureArea, tabs: gr.Tabs) -> None:
    """Lets the picture on one stage become the start of the next, with the words that made it."""
    names = ("init_image", "prompt", "negative_prompt")
    controls = [target.form.controls[name] for name in names]

    async def send(shelf: Shelf) -> Any:
        if shelf.picture is None:
            return gr.skip()
        receipt = shelf.picture.receipt
        file = str(source.service.images.path(shelf.picture.id))
        return gr.Tabs(selected="image"), file, receipt.prompt, receipt.negative_prompt

    source.send.click(send, [source.shelf], [tabs, *controls], **QUIET)
