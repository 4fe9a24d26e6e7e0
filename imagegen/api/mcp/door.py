"""The door of MCP."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from imagegen.api.door import Door
from imagegen.api.gradio.door import GRADIO_PREFIX
from imagegen.api.mcp.errors import format_mcp_error
from imagegen.api.mcp.job_tools import JobTools
from imagegen.api.mcp.library_tools import LibraryTools
from imagegen.api.mcp.picture_tools import create_picture_tools
from imagegen.api.mcp.png_info_tool import PngInfoTool
from imagegen.api.mcp.preprocess_tool import PreprocessTool
from imagegen.api.mcp.resource_tools import create_resource_tools
from imagegen.api.mcp.server import ToolServer
from imagegen.api.mcp.tool import Tool
from imagegen.api.mcp.transports import SseTransport, StreamableHttpTransport
from imagegen.service import Service

# Where Gradio serves MCP, and where its page and its clients expect it.
MCP_PREFIX = f"{GRADIO_PREFIX}/mcp"
STREAMABLE_PATHS = (MCP_PREFIX, f"{MCP_PREFIX}/", f"{MCP_PREFIX}/http", f"{MCP_PREFIX}/http/")
MESSAGES_PATH = f"{MCP_PREFIX}/messages/"


class AsgiEndpoint:
    """An endpoint that is an ASGI app. Starlette takes functions and methods for handlers that return a response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def create_mcp_door(service: Service) -> Door:
    own_tools = [*LibraryTools(service).create(), *JobTools(service).create(), *create_file_tools(service)]
    tools = [*create_picture_tools(service), *create_resource_tools(service), *own_tools]
    server = ToolServer(service, tools)
    return Door(name="mcp", format_error=format_mcp_error, router=create_mcp_router(server), prefixes=(MCP_PREFIX,))


def create_file_tools(service: Service) -> list[Tool]:
    return [PreprocessTool(service).create(), PngInfoTool(service).create()]


def create_mcp_router(server: ToolServer) -> APIRouter:
    router = APIRouter()
    streamable, sse = StreamableHttpTransport(server), SseTransport(server, MESSAGES_PATH)
    endpoints: tuple[tuple[str, ASGIApp, list[str]], ...] = (
        *((path, streamable, ["POST", "DELETE"]) for path in STREAMABLE_PATHS),
        (f"{MCP_PREFIX}/sse", sse.stream, ["GET"]),
        (MESSAGES_PATH, sse.receive_message, ["POST"]),
    )
    for path, app, methods in endpoints:
        router.routes.append(Route(path, AsgiEndpoint(app), methods=methods, include_in_schema=False))

    @router.get(f"{MCP_PREFIX}/schema", include_in_schema=False)
    async def schema(request: Request) -> list[dict[str, Any]]:
        """Returns the tools as Gradio does, for its page and for Hugging Face's MCP server."""
        return [
            {**tool.model_dump(include={"name", "description", "inputSchema"}), "meta": build_gradio_facts(tool.name)}
            for tool in server.select_tools(request).values()
        ]

    return router


def build_gradio_facts(name: str) -> dict[str, Any]:
    return {"file_data_present": False, "mcp_type": "tool", "endpoint_name": name}
