"""The MCP server: lists the tools and calls them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import anyio
from mcp.server.lowlevel import Server
from mcp.types import CallToolResult, ContentBlock, ToolAnnotations
from mcp.types import Tool as ToolDescription
from pydantic import BaseModel
from starlette.requests import Request

from imagegen.api.mcp.errors import build_error_result
from imagegen.api.mcp.input_schema import build_input_schema
from imagegen.api.mcp.progress import ProgressReporter
from imagegen.api.mcp.tool import Caller, Tool
from imagegen.api.rest.openapi import API_TITLE
from imagegen.errors import InvalidRequest, JobCancelled, map_exception
from imagegen.schema.validation import parse_model
from imagegen.service import Service
from imagegen.version import VERSION


class ToolServer:
    """`protocol` speaks MCP on a pair of streams. Its requests must carry the HTTP request that brought them."""

    def __init__(self, service: Service, tools: Sequence[Tool]) -> None:
        self.service, self.tools = service, {tool.name: tool for tool in tools}
        self.protocol: Server[Any, Request] = Server(API_TITLE, VERSION)
        self.protocol.list_tools()(self.list_tools)  # type: ignore[no-untyped-call]
        self.protocol.call_tool(validate_input=False)(self.call_tool)

    @cached_property
    def descriptions(self) -> dict[str, ToolDescription]:
        """All tools by name. Made at the first call: the schemas take longer than the rest of the door."""
        return {name: describe_tool(tool) for name, tool in self.tools.items()}

    def select_tools(self, request: Request) -> dict[str, ToolDescription]:
        """Returns the tools by name; those alone that `?tools=a,b` names, if it is in the address."""
        if "tools" not in request.query_params:
            return self.descriptions
        selected = request.query_params["tools"].split(",")
        return {name: description for name, description in self.descriptions.items() if name in selected}

    async def list_tools(self) -> list[ToolDescription]:
        return list(self.select_tools(self.get_request()).values())

    async def call_tool(self, name: str, arguments: Mapping[str, Any]) -> CallToolResult:
        """Returns the result of a tool. An error is a result too."""
        try:
            with get_cancel_scope(self.get_request()):
                return CallToolResult(content=list(await self.run_tool(name, arguments)))
            raise JobCancelled
        except Exception as error:
            return build_error_result(map_exception(error))

    async def run_tool(self, name: str, arguments: Mapping[str, Any]) -> Sequence[ContentBlock]:
        """Raises any ImageGenError."""
        request = self.get_request()
        caller = Caller(request.state.user, str(request.base_url).rstrip("/"), self.build_progress_reporter())
        with self.service.count_invalid_request(caller.user):
            selected = self.select_tools(request)
            if name not in selected:
                raise InvalidRequest("tool", f"must be one of {', '.join(selected)}")
            tool = self.tools[name]
            return await tool.call(parse_model(tool.arguments, drop_nulls(tool.arguments, arguments)), caller)

    def get_request(self) -> Request:
        """Returns the HTTP request that brought the current message."""
        request = self.protocol.request_context.request
        assert request is not None
        return request

    def build_progress_reporter(self) -> ProgressReporter:
        context = self.protocol.request_context
        token = context.meta.progressToken if context.meta is not None else None
        if token is None:
            return ProgressReporter(None)
        send = partial(context.session.send_progress_notification, token, related_request_id=str(context.request_id))
        return ProgressReporter(send)


def describe_tool(tool: Tool) -> ToolDescription:
    return ToolDescription(
        name=tool.name,
        description=tool.description,
        inputSchema=build_input_schema(tool.arguments, tool.descriptions),
        annotations=ToolAnnotations(readOnlyHint=tool.only_reads),
    )


def drop_nulls(model: type[BaseModel], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments without those that are null, which count as left out. Unknown ones are kept."""
    return {name: value for name, value in arguments.items() if value is not None or name not in model.model_fields}


def get_cancel_scope(request: Request) -> anyio.CancelScope:
    """Returns the scope in which the call of a request must run."""
    scope: anyio.CancelScope | None = getattr(request.state, "cancel_scope", None)
    return anyio.CancelScope() if scope is None else scope
