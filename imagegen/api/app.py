"""Builds the FastAPI app that serves the routes of all doors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from imagegen.api.door import Door, find_door
from imagegen.api.error_responses import build_error_response, map_http_exception
from imagegen.api.rest.openapi import API_DESCRIPTION, API_TITLE, complete_openapi_schema
from imagegen.errors import ImageGenError, MethodNotAllowed

API_VERSION = "1"


def create_api(doors: Sequence[Door]) -> FastAPI:
    """Returns an app with the routes of each door that has a router, matched in the order of the doors."""
    api = FastAPI(title=API_TITLE, description=API_DESCRIPTION, version=API_VERSION, docs_url=None, redoc_url=None)
    for error in (ImageGenError, RequestValidationError, HTTPException, Exception):
        api.add_exception_handler(error, partial(handle_exception, doors))
    for door in doors:
        if door.router is not None:
            api.router.routes.extend(door.router.routes)  # `include_router` would build each route again.
    api.openapi = partial(build_openapi_schema, api, api.openapi)  # type: ignore[method-assign]
    return api


async def handle_exception(doors: Sequence[Door], request: Request, error: Exception) -> Response:
    known = map_http_exception(error)
    if isinstance(known, MethodNotAllowed):
        known = MethodNotAllowed(", ".join(sorted(find_methods(request.app, request.scope))))
    return build_error_response(known, find_door(doors, request.scope["path"]))


def find_methods(api: FastAPI, scope: Scope) -> set[str]:
    """Returns the methods of all routes with the path of a request; FastAPI names those of the first route only."""
    routes = [route for route in iter_route_contexts(api.routes) if route.matches(scope)[0] is not Match.NONE]
    return {method for route in routes for method in route.methods or ()}


def build_openapi_schema(api: FastAPI, generate: Any) -> dict[str, Any]:
    return api.openapi_schema if api.openapi_schema is not None else complete_openapi_schema(generate())
