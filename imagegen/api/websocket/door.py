"""The door of the WebSocket."""

from __future__ import annotations

from fastapi import APIRouter

from imagegen.api.door import Door
from imagegen.api.middleware.authenticators import Authenticator
from imagegen.api.rest.errors import format_rest_error
from imagegen.api.websocket.routes import WebSocketRoutes
from imagegen.service import Service

SOCKET_PATH = "/v1/ws"


def create_websocket_door(service: Service, authenticator: Authenticator) -> Door:
    router = APIRouter()
    router.add_api_websocket_route(SOCKET_PATH, WebSocketRoutes(service, authenticator).serve)
    return Door(
        name="websocket",
        format_error=format_rest_error,
        router=router,
        socket_path=SOCKET_PATH,
        sign_in="optional",
    )
