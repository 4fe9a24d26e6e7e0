"""The tool that reads the settings of pictures."""

from __future__ import annotations

from mcp.types import ContentBlock
from pydantic import Field

from imagegen.api.mcp.picture_tools import PICTURE_HELP
from imagegen.api.mcp.picture_urls import PictureUrls
from imagegen.api.mcp.tool import Caller, Tool, build_text
from imagegen.picture_settings.reader import read_picture_settings
from imagegen.schema.base import FrozenModel
from imagegen.service import Service

SUMMARY = (
    "Reads how a picture was made from its file, also if another tool made it, such as AUTOMATIC1111 or ComfyUI."
    " Returns the settings as arguments of txt2img, and for each setting in the file whether the studio has the same."
)


class PngInfoArguments(FrozenModel):
    image: str = Field(description=PICTURE_HELP)


class PngInfoTool:
    def __init__(self, service: Service) -> None:
        self.service, self.urls = service, PictureUrls(service.settings)

    def create(self) -> Tool:
        return Tool("png_info", SUMMARY, PngInfoArguments, self.read, only_reads=True)

    async def read(self, arguments: PngInfoArguments, caller: Caller) -> list[ContentBlock]:
        """Raises InvalidRequest and TooManyRequests."""
        picture = self.urls.replace_by_id(arguments.image, "image")
        content = await self.service.read_encoded_picture(picture, caller.user, "image")
        answer = await read_picture_settings(self.service, content, caller.user)
        return [build_text(answer.model_dump())]
