"""The tools for the library: search, look at, change and delete the user's own pictures."""

from __future__ import annotations

from mcp.types import ContentBlock, ImageContent
from pydantic import Field, create_model

from imagegen.api.mcp.picture_tools import build_url_text
from imagegen.api.mcp.tool import Caller, Tool, build_text
from imagegen.api.rest.messages import read_picture_base64
from imagegen.schema.base import FrozenModel
from imagegen.schema.pictures import LibraryPicture, PictureChange, PictureId, PictureQuery
from imagegen.service import Service


class PictureArguments(FrozenModel):
    picture_id: PictureId = Field(description="The id of one of your pictures.")


ChangeArguments = create_model("ChangeArguments", __base__=(PictureArguments, PictureChange))


class LibraryTools:
    def __init__(self, service: Service) -> None:
        self.service, self.library = service, service.pictures

    def create(self) -> list[Tool]:
        list_help = "Lists your pictures, newest first, with their receipts and addresses."
        change_help = "Marks a picture as a favourite, sets its albums, or brings it back after its deletion."
        delete_help = "Deletes a picture. Within a minute, change_picture brings it back."
        return [
            Tool("list_pictures", list_help, PictureQuery, self.search, only_reads=True),
            Tool("get_picture", "Returns one of your pictures.", PictureArguments, self.show, only_reads=True),
            Tool("change_picture", change_help, ChangeArguments, self.change),
            Tool("delete_picture", delete_help, PictureArguments, self.delete),
        ]

    async def search(self, query: PictureQuery, caller: Caller) -> list[ContentBlock]:
        page = await self.library.search(query, caller.user)
        pictures = [describe_picture(picture, caller) for picture in page.pictures]
        return [build_text({"pictures": pictures, "next": page.next})]

    async def show(self, arguments: PictureArguments, caller: Caller) -> list[ContentBlock]:
        """Raises UnknownPicture."""
        picture = await self.library.get(arguments.picture_id, caller.user)
        encoded = await read_picture_base64(self.service.images, picture.id)
        image = ImageContent(type="image", data=encoded, mimeType="image/png")
        return [image, build_url_text(picture.id, caller), build_text(describe_picture(picture, caller))]

    async def change(self, arguments: PictureArguments, caller: Caller) -> list[ContentBlock]:
        """Raises UnknownPicture."""
        change = PictureChange(**arguments.model_dump(include=set(PictureChange.model_fields)))
        picture = await self.library.change(arguments.picture_id, change, caller.user)
        return [build_text(describe_picture(picture, caller))]

    async def delete(self, arguments: PictureArguments, caller: Caller) -> list[ContentBlock]:
        """Raises UnknownPicture."""
        await self.library.get(arguments.picture_id, caller.user)
        await self.library.delete([arguments.picture_id], caller.user)
        return [build_text({"id": arguments.picture_id, "deleted": True})]


def describe_picture(picture: LibraryPicture, caller: Caller) -> dict[str, object]:
    return {**picture.model_dump(), "url": caller.build_picture_url(picture.id)}
