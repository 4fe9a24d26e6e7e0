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

from imagegen.api.gate import IN_NAME_OF, INSIDE
from imagegen.schema import User

FILE_HELP = " A picture is given in base64, as a data URI, or by the id of one that was made here before."


class Tools(GradioMCPServer):
    """Gradio's own server takes the address of any picture, which it would fetch, and gives files back only when an
    endpoint returns nothing else.
    """

    @property
    def _file_data_tool_description(self) -> str:
        return FILE_HELP

    def convert_strings_to_filedata(self, value: Any, filedata_positions: list[list[str | int]]) -> Any:
        """What the endpoint is sent for a picture is the text itself, for it to look into."""
        names = {name for (name,) in filedata_positions}
        return {
            name: {"data": sent} if name in names and isinstance(sent, str) else sent for name, sent in value.items()
        }

    def _prepare_tool_call_args(self, name: str, arguments: dict[str, Any]) -> Any:
        """The studio asks itself, in the name of whoever called the tool."""
        endpoint, values, headers, function = super()._prepare_tool_call_args(name, arguments)
        request = self.mcp_server.request_context.request
        assert request is not None
        user: User = request.state.user
        return endpoint, values, {**headers, IN_NAME_OF: json.dumps(user.model_dump())}, function

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


def let_tools_in(demo: gr.Blocks, secret: str) -> None:
    """Gradio has no public way to choose its server of tools, nor the client that this calls the endpoints with.

    Gradio would make that client at the first call, and it would be refused at the gate.
    """
    server: Any = demo.mcp_server_obj
    server.__class__ = Tools
    server._client_instance = Client(  # noqa: SLF001
        demo.local_url,
        download_files=False,
        verbose=False,
        analytics_enabled=False,
        ssl_verify=False,  # It is asked without TLS; a list of authorities would be read for every call.
        _skip_components=False,
        headers={"x-gradio-user": "mcp", INSIDE: secret},
    )
