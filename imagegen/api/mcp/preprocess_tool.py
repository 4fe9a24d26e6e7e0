"""The tool that makes control maps of pictures."""

from __future__ import annotations

import asyncio

from mcp.types import ContentBlock, ImageContent
from pydantic import Field

from imagegen.api.mcp.picture_tools import PICTURE_HELP
from imagegen.api.mcp.picture_urls import PictureUrls
from imagegen.api.mcp.tool import Caller, Tool, build_text
from imagegen.media.base64_images import encode_base64
from imagegen.preprocessing import store_control_map
from imagegen.schema.base import FrozenModel
from imagegen.schema.controls import ControlUse, Preprocessor
from imagegen.service import Service

SUMMARY = (
    "Makes the control map of a picture, such as its edges. Returns the map and its id, which the controls of a request"
    ' take as their image, with the preprocessor "none".'
)


class PreprocessArguments(FrozenModel):
    image: str = Field(description=PICTURE_HELP)
    preprocessor: Preprocessor = Field(description=ControlUse.model_fields["preprocessor"].description)


class PreprocessTool:
    def __init__(self, service: Service) -> None:
        self.service, self.urls = service, PictureUrls(service.settings)

    def create(self) -> Tool:
        return Tool("preprocess", SUMMARY, PreprocessArguments, self.preprocess)

    async def preprocess(self, arguments: PreprocessArguments, caller: Caller) -> list[ContentBlock]:
        """Raises InvalidRequest and TooManyRequests."""
        picture = self.urls.replace_by_id(arguments.image, "image")
        map_id = await store_control_map(self.service, picture, arguments.preprocessor, caller.user, "image")
        file = await self.service.get_input_path(map_id, caller.user)
        encoded = encode_base64(await asyncio.to_thread(file.read_bytes))
        return [ImageContent(type="image", data=encoded, mimeType="image/png"), build_text({"id": map_id})]
