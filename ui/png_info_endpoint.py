"""The endpoint for programs that reads the settings of pictures."""

from __future__ import annotations

from inspect import Parameter
from typing import Any

import gradio as gr

from imagegen.picture_settings.reader import read_picture_settings
from imagegen.service import Service
from ui.gradio_request import get_user
from ui.messages import raise_as_gradio_error
from ui.resource_endpoints import add_endpoint
from ui.uploaded_images import read_upload


def add_png_info_endpoint(service: Service, demo: gr.Blocks) -> None:
    async def png_info(image: object, http: gr.Request) -> dict[str, Any]:
        with raise_as_gradio_error():
            user = get_user(http)
            content = await read_upload(service, image, user, "image")
            return (await read_picture_settings(service, content, user)).model_dump()

    image = Parameter("image", Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.FileData)
    summary = "Reads how a picture was made from its file, also if another tool made it."
    add_endpoint(demo, png_info, "png_info", summary, {image: "The file of a picture."}, "settings")
