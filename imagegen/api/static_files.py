"""Routes for the files of a folder."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.staticfiles import StaticFiles


def add_static_files(router: APIRouter, prefix: str, folder: Path) -> None:
    """Serves the files of a folder below a prefix.

    Starlette's own way, to mount StaticFiles, finds no file when `public_url` has a path.
    """
    files = StaticFiles(directory=folder)

    @router.api_route(f"{prefix}/{{path:path}}", methods=["GET", "HEAD"], include_in_schema=False)
    async def static_file(path: str, request: Request) -> Response:
        return await files.get_response(path, request.scope)
