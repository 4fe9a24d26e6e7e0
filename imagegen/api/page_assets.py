"""The door of the page's own files: its font, and the pictures of its examples. It needs no sign-in."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter

from imagegen.api.door import Door
from imagegen.api.gradio.errors import format_gradio_error
from imagegen.api.static_files import add_static_files

PREFIX = "/page-assets"
FOLDER = Path(__file__).parents[2] / "assets" / "page"


def create_page_assets_door() -> Door:
    router = APIRouter()
    add_static_files(router, PREFIX, FOLDER)
    return Door(name="page assets", format_error=format_gradio_error, router=router, prefixes=(PREFIX,), sign_in="none")
