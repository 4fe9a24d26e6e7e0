"""Health checks, and the API documentation with Swagger UI."""

from __future__ import annotations

from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse

from imagegen.api.rest.openapi import API_TITLE
from imagegen.api.static_files import add_static_files
from imagegen.service import Service

# Swagger UI is served by the studio itself, so that the documentation needs no network.
SWAGGER_UI_DIR = Path(fastapi_offline.__file__).parent / "static"


def create_docs_router(service: Service) -> APIRouter:
    router = APIRouter()
    add_health_routes(router, service)
    add_docs_routes(router)
    return router


def add_health_routes(router: APIRouter, service: Service) -> None:
    """For whatever monitors the process."""

    @router.get("/healthz", tags=["Health"])
    async def healthz() -> dict[str, str]:
        """200 while the server runs."""
        return {"status": "alive"}

    @router.get(
        "/readyz", tags=["Health"], responses={503: {"description": "A job would have to wait for the worker."}}
    )
    async def readyz(response: Response) -> dict[str, str | list[str] | dict[str, str]]:
        """Returns 200 if a job would run now. Otherwise `problems` says what is wrong, as far as it is known.

        With several workers, `workers` has the state of each by its name.
        """
        readiness = await service.get_readiness()
        response.status_code = 200 if readiness.status == "ready" else 503
        states = dict[str, str](service.worker_states)
        return {
            "status": readiness.status,
            **({"problems": list(readiness.problems)} if readiness.problems else {}),
            **({"workers": states} if len(states) > 1 else {}),
        }


def add_docs_routes(router: APIRouter) -> None:
    add_static_files(router, "/docs-assets", SWAGGER_UI_DIR)

    @router.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title=f"{API_TITLE}: API",
            swagger_js_url=f"{root}/docs-assets/swagger-ui-bundle.js",
            swagger_css_url=f"{root}/docs-assets/swagger-ui.css",
            swagger_favicon_url=f"{root}/favicon.ico",
        )
