"""The door of the documentation and of the health checks. It needs no sign-in."""

from __future__ import annotations

from imagegen.api.docs.routes import create_docs_router
from imagegen.api.door import Door
from imagegen.api.gradio.errors import format_gradio_error
from imagegen.service import Service


def create_docs_door(service: Service) -> Door:
    return Door(
        name="docs",
        format_error=format_gradio_error,
        router=create_docs_router(service),
        prefixes=("/docs", "/docs-assets", "/openapi.json", "/healthz", "/readyz"),
        sign_in="none",
    )
