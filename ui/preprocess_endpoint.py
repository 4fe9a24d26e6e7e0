"""The endpoint for programs that makes control maps of pictures."""

from __future__ import annotations

from inspect import Parameter
from typing import Any, get_args

import gradio as gr

from imagegen.errors import InvalidRequest
from imagegen.preprocessing import store_control_map
from imagegen.schema.controls import MAP_PLACE, Preprocessor
from imagegen.service import Service
from ui.gradio_request import get_user
from ui.messages import raise_as_gradio_error
from ui.resource_endpoints import add_endpoint
from ui.uploaded_images import store_upload

PREPROCESSORS: tuple[Preprocessor, ...] = get_args(Preprocessor)


def add_preprocess_endpoint(service: Service, demo: gr.Blocks) -> None:
    async def preprocess(image: object, preprocessor: object, http: gr.Request) -> dict[str, Any]:
        with raise_as_gradio_error():
            name = next((each for each in PREPROCESSORS if each == preprocessor), None)
            if name is None:
                raise InvalidRequest("preprocessor", f"must be one of {', '.join(PREPROCESSORS)}")
            user = get_user(http)
            image_id = await store_upload(service, image, user, MAP_PLACE)
            map_id = await store_control_map(service, image_id, name, user, "image")
        return gr.FileData(path=str(service.images.input_path(map_id)), mime_type="image/png").model_dump()

    image = Parameter("image", Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.FileData)
    preprocessor_name = Parameter("preprocessor", Parameter.POSITIONAL_OR_KEYWORD, annotation=str)
    parameters = {image: "A picture.", preprocessor_name: f"One of {', '.join(PREPROCESSORS)}."}
    summary = "Makes the control map of a picture, such as its edges."
    add_endpoint(demo, preprocess, "preprocess", summary, parameters, "control map", gr.FileData)
