"""The error forms of MCP: of HTTP responses, and of tool results."""

from __future__ import annotations

from mcp.types import INTERNAL_ERROR, INVALID_REQUEST, CallToolResult, TextContent

from imagegen.api.door import ErrorBody
from imagegen.api.rest.errors import format_rest_error
from imagegen.errors import ImageGenError


def format_mcp_error(error: ImageGenError) -> ErrorBody:
    """Returns an error response of JSON-RPC; its `data` is the error as REST has it."""
    code = INTERNAL_ERROR if error.status >= 500 else INVALID_REQUEST
    data = format_rest_error(error)["error"]
    return {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": str(error), "data": data}}


def build_error_result(error: ImageGenError) -> CallToolResult:
    """Returns the result of a failed call, as CODE: SENTENCE."""
    return CallToolResult(content=[TextContent(type="text", text=f"{error.code}: {error}")], isError=True)
