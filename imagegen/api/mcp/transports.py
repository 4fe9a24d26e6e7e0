"""How MCP clients reach the tools: streamable HTTP, and the older transport with one stream for each client."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER, StreamableHTTPServerTransport
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from imagegen.api.mcp.running_calls import RunningCalls, Session
from imagegen.api.mcp.server import ToolServer
from imagegen.api.middleware.body_limits import MAX_BYTES_ON_EVENT_LOOP
from imagegen.api.middleware.request_body import MAX_BODY_BYTES, replay_body
from imagegen.errors import InvalidRequest

NOT_A_MESSAGE = "must be a message of JSON-RPC 2.0"


class StreamableHttpTransport:
    """An ASGI app for POST and DELETE. Each request has a transport of its own, and a call ends with its request.

    The answer to `initialize` names a session, which the client sends with all later requests. Through it,
    `notifications/cancelled` and DELETE find the calls that they cancel. A client without a session is served too.
    """

    def __init__(self, server: ToolServer) -> None:
        self.server = server
        self.calls = RunningCalls()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises InvalidRequest."""
        request = Request(scope, receive)
        session_id = request.headers.get(MCP_SESSION_ID_HEADER)
        session = Session(request.state.user.id, session_id) if session_id else None
        if request.method == "DELETE":
            await self.close_session(session)(scope, receive, send)
            return
        body = await request.body()
        message = await parse_message(body)
        receive = replay_body(body, receive)
        match message:
            case {"method": "initialize"}:
                await self.serve(scope, receive, add_header(send, MCP_SESSION_ID_HEADER, uuid4().hex))
            case {"method": "tools/call", "id": int() | str() as request_id} if session is not None:
                with self.calls.register(session, request_id) as cancel_scope:
                    state = {**scope["state"], "cancel_scope": cancel_scope}
                    await self.serve({**scope, "state": state}, receive, send)
            case {"method": "notifications/cancelled", "params": {"requestId": int() | str() as request_id}}:
                if session is not None:
                    self.calls.cancel(session, request_id)
                await self.serve(scope, receive, send)
            case _:
                await self.serve(scope, receive, send)

    def close_session(self, session: Session | None) -> Response:
        """Cancels the calls of a session. Raises InvalidRequest."""
        if session is None:
            raise InvalidRequest(MCP_SESSION_ID_HEADER, "is required")
        self.calls.cancel_all(session)
        return Response(status_code=200)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one message. When the client has gone, or has its answer, what still runs is cancelled."""
        protocol, transport = self.server.protocol, StreamableHTTPServerTransport(mcp_session_id=None)
        options = protocol.create_initialization_options()
        async with transport.connect() as (read, write), anyio.create_task_group() as tasks:
            tasks.start_soon(protocol.run, read, write, options, False, True)
            await transport.handle_request(scope, receive, send)
            tasks.cancel_scope.cancel()


class SseTransport:
    """The transport of MCP's version 2024-11-05: a stream of answers, and a route that takes the messages for it."""

    def __init__(self, server: ToolServer, messages_path: str) -> None:
        self.server = server
        self.transport = SseServerTransport(messages_path, max_request_body_size=MAX_BODY_BYTES)

    async def stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI app. When the client disconnects, its calls are cancelled."""
        protocol = self.server.protocol
        async with self.transport.connect_sse(add_owner(scope), receive, send) as (read, write):
            await protocol.run(read, write, protocol.create_initialization_options())

    async def receive_message(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI app. A stream of another user does not exist for the sender."""
        await self.transport.handle_post_message(add_owner(scope), receive, send)


async def parse_message(body: bytes) -> dict[str, Any]:
    """Raises InvalidRequest."""
    try:
        message = await asyncio.to_thread(json.loads, body) if len(body) > MAX_BYTES_ON_EVENT_LOOP else json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidRequest("body", "must be valid JSON") from None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise InvalidRequest("body", NOT_A_MESSAGE)
    return message


def add_header(send: Send, name: str, value: str) -> Send:
    async def send_with_header(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)[name] = value
        await send(message)

    return send_with_header


def add_owner(scope: Scope) -> Scope:
    """Returns the scope with the user as the MCP package expects it: it compares users by `client_id`."""
    token = AccessToken(token="", client_id=scope["state"]["user"].id, scopes=[])
    return {**scope, "user": AuthenticatedUser(token)}
