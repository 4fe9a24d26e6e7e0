"""The list of all doors. Middleware, routing and error responses read it."""

from __future__ import annotations

from imagegen.access.sessions import SessionStore, get_session_secret
from imagegen.api.a1111.door import create_a1111_door
from imagegen.api.docs.door import create_docs_door
from imagegen.api.door import Door
from imagegen.api.gradio.door import create_page_door, create_page_files_door
from imagegen.api.huggingface.door import create_hugging_face_door
from imagegen.api.login.door import create_login_door
from imagegen.api.mcp.door import create_mcp_door
from imagegen.api.middleware.authenticators import Authenticator
from imagegen.api.middleware.gradio_ownership import FileAccess
from imagegen.api.openai.door import create_openai_door, create_picture_links_door
from imagegen.api.openai.picture_links import PictureLinks
from imagegen.api.page_assets import create_page_assets_door
from imagegen.api.rest.door import create_rest_door
from imagegen.api.websocket.door import create_websocket_door
from imagegen.service import Service
from imagegen.settings import Settings


def create_doors(
    settings: Settings,
    service: Service,
    authenticator: Authenticator,
    sessions: SessionStore,
    file_access: FileAccess,
) -> tuple[Door, ...]:
    """Returns the doors in the order in which their routes are matched."""
    links = PictureLinks(get_session_secret(settings))
    return (
        create_docs_door(service),
        create_rest_door(service, sessions, file_access),
        create_openai_door(service, links),
        create_picture_links_door(service, links),
        create_a1111_door(service),
        create_hugging_face_door(service),
        create_websocket_door(service, authenticator),
        create_mcp_door(service),
        create_login_door(settings, authenticator, sessions),
        create_page_assets_door(),
        create_page_files_door(),
        create_page_door(),
    )
