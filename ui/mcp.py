"""MCP: Gradio serves the endpoints as tools, and this says what goes into them and comes out."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.mcp import GradioMCPServer
from gradio_client import Client
from mcp.types import ImageContent, TextContent

from imagegen.api.gate import INSIDE
from imagegen.api.pictures import decoded, own_picture
from imagegen.schema import User
from imagegen.service import Service

FILE_HELP = " A picture is given in base64, as a data URI, or by the id of one that was made here before."


class Tools(GradioMCPServer):
    """Gradio's own server takes the address of any picture, which it would fetch, and gives files back only when an
    endpoint returns nothing else.
    """

    service: Service

    @property
    def _file_data_tool_description(self) -> str:
        return FILE_HELP

    def convert_strings_to_filedata(self, value: Any, filedata_positions: list[list[str | int]]) -> Any:
        """Raises InvalidRequest. What is marked as a file would be uploaded again, and in nobody's name."""
        arguments = dict(value)
        for (name,) in filedata_positions:
            if isinstance(arguments.get(name), str):
                arguments[name] = {"path": str(self._stored(arguments[name]))}
        return arguments

    def _stored(self, text: str) -> Path:
        request = self.mcp_server.request_context.request
        assert request is not None
        user: User = request.state.user
        known = own_picture(self.service, text, user)
        if known is not None:
            return known
        image_id = self.service.images.add_input(decoded(text))
        self.service.belongings.add_input(user.id, image_id)
        return self.service.images.input_path(image_id)

    def postprocess_output_data(self, data: Any, root_url: str) -> list[TextContent | ImageContent]:
        return list(contents(data, root_url))


def contents(data: Any, root_url: str) -> Iterator[TextContent | ImageContent]:
    """Pictures as they are, with the receipts inside, and where else they are to be had; everything else as JSON."""
    for value in flattened(data):
        match value:
            case {"path": str(path), "meta": {"_type": "gradio.FileData"}}:
                file = Path(path)
                encoded = base64.b64encode(file.read_bytes()).decode("ascii")
                yield ImageContent(type="image", data=encoded, mimeType="image/png")
                yield TextContent(type="text", text=f"Image URL: {root_url}/v1/images/{file.stem}")
            case _:
                yield TextContent(type="text", text=json.dumps(value, ensure_ascii=False))


def flattened(data: Iterable[Any]) -> Iterator[Any]:
    """What the endpoint returned, one by one: of a batch it returns lists."""
    for value in data:
        if isinstance(value, list | tuple):
            yield from flattened(value)
        else:
            yield value


def let_tools_in(demo: gr.Blocks, service: Service, secret: str) -> None:
    """Gradio has no public way to choose its server of tools, nor the client that this calls the endpoints with.

    Gradio would make that client at the first call, and it would be refused at the gate. It sends the headers of
    whoever called the tool with each call, so that the job is theirs.
    """
    server: Any = demo.mcp_server_obj
    server.__class__ = Tools
    server.service = service
    server._client_instance = Client(  # noqa: SLF001
        demo.local_url,
        download_files=False,
        verbose=False,
        analytics_enabled=False,
        _skip_components=False,
        headers={"x-gradio-user": "mcp", INSIDE: secret},
    )
