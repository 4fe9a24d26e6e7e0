"""The doors of the Gradio page. They have no router: the Gradio app serves them."""

from __future__ import annotations

from imagegen.api.door import Door
from imagegen.api.gradio.errors import format_gradio_error

GRADIO_PREFIX = "/gradio_api"


def create_page_door() -> Door:
    """Serves every path that no other door serves."""
    return Door(name="gradio", format_error=format_gradio_error, prefixes=("/",))


def create_page_files_door() -> Door:
    """Serves the static files that the page loads before the sign-in; they hold no data of users."""
    return Door(
        name="gradio files",
        format_error=format_gradio_error,
        prefixes=("/static", "/assets", "/svelte", "/pwa_icon"),
        paths=(
            "/favicon.ico",
            "/robots.txt",
            "/manifest.json",
            "/theme.css",
            f"{GRADIO_PREFIX}/theme.css",
            f"{GRADIO_PREFIX}/startup-events",
        ),
        immutable_prefixes=("/assets",),
        sign_in="none",
    )
