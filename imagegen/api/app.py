"""All of the studio's own routes, put together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from imagegen.api.described import ABOUT, TITLE, complete
from imagegen.api.errors import known, response
from imagegen.errors import ImageGenError
from imagegen.service import Service

VERSION = "1"


def new_api(service: Service, routers: Sequence[APIRouter], docs_assets: Path) -> FastAPI:
    """`docs_assets` is the folder of Swagger UI, which is served from here: the studio needs no network."""
    api = FastAPI(title=TITLE, description=ABOUT, version=VERSION, docs_url=None, redoc_url=None)
    for error in (ImageGenError, RequestValidationError, HTTPException, Exception):
        api.add_exception_handler(error, told)
    add_health(api, service)
    add_docs(api, docs_assets)
    for router in routers:
        api.include_router(router)
    api.openapi = partial(described, api, api.openapi)  # type: ignore[method-assign]
    return api


async def told(request: Request, error: Exception) -> Response:
    return response(known(error), request.url.path)


def described(api: FastAPI, generate: Any) -> dict[str, Any]:
    return api.openapi_schema if api.openapi_schema is not None else complete(generate())


def add_health(api: FastAPI, service: Service) -> None:
    """For whoever watches over the process."""

    @api.get("/healthz", tags=["Health"])
    async def healthz() -> dict[str, str]:
        """200 while the server lives."""
        return {"status": "alive"}

    @api.get("/readyz", tags=["Health"], responses={503: {"description": "A job would have to wait for the worker."}})
    async def readyz(response: Response) -> dict[str, str]:
        """200 when a job would run now."""
        response.status_code = 200 if service.state == "ready" else 503
        return {"status": service.state}


def add_docs(api: FastAPI, assets: Path) -> None:
    api.mount("/docs-assets", StaticFiles(directory=assets), name="docs-assets")

    @api.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title=f"{TITLE}: API",
            swagger_js_url=f"{root}/docs-assets/swagger-ui-bundle.js",
            swagger_css_url=f"{root}/docs-assets/swagger-ui.css",
            swagger_favicon_url=f"{root}/favicon.ico",
        )
