"""The door of Hugging Face's Inference API."""

from __future__ import annotations

from imagegen.api.door import Door
from imagegen.api.huggingface.errors import format_inference_error
from imagegen.api.huggingface.routes import HUGGING_FACE_PATH, create_inference_router
from imagegen.service import Service


def create_hugging_face_door(service: Service) -> Door:
    return Door(
        name="hugging face",
        format_error=format_inference_error,
        router=create_inference_router(service),
        prefixes=(HUGGING_FACE_PATH,),
    )
