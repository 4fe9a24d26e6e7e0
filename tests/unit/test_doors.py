"""Each path belongs to one door, and the middleware treats it as the door says."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter
from starlette.types import ASGIApp, Receive, Scope, Send

from imagegen.access.keys import KeyStore, get_keys_path
from imagegen.api.app import create_api
from imagegen.api.door import DEFAULT_CREDENTIALS, Door, find_door, has_prefix
from imagegen.api.error_responses import build_error_response, map_http_exception
from imagegen.api.gradio.errors import format_gradio_error
from imagegen.api.middleware.base import Middleware, compose
from imagegen.api.middleware.error_rendering import ErrorRendering
from imagegen.api.middleware.gateway import Gateway
from imagegen.errors import ImageGenError, MethodNotAllowed, NotFound, QueueFull, SignInRequired, UnknownRoute
from imagegen.settings import Settings
from tests.unit.fake_authority import make_scope
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio, serve_page


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[InProcessStudio]:
    async with run_in_process_studio(tmp_path) as studio:
        yield studio


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Door]:
    folder = tmp_path_factory.mktemp("doors")
    return InProcessStudio(Settings(data_dir=folder / "data"), folder).doors.doors


@pytest.mark.parametrize(
    ("path", "door"),
    [
        ("/v1/txt2img", "rest"), ("/v1/jobs/1", "rest"), ("/v1/images/1", "rest"), ("/v1/images", "rest"),
        ("/v1/models/list", "rest"), ("/v1/models/load", "rest"), ("/v1/models/unload", "rest"),
        ("/v1/models/picture", "rest"), ("/v1/downloads", "rest"),
        ("/v1/loras/list", "rest"), ("/v1/nothing", "rest"),
        ("/v1/models", "openai"), ("/v1/models/embedded", "openai"), ("/v1/models/list/it", "openai"),
        ("/v1/models/list/", "openai"), ("/v1/models/a/list", "openai"), ("/v1/images/generations", "openai"),
        ("/v1/images/edits", "openai"), ("/v1/images/variations", "openai"),
        ("/v1/images/signed/1.png", "picture links"), ("/v1/images/signedx", "rest"),
        ("/hf", "hugging face"), ("/hf/", "hugging face"), ("/hf/models/a/b", "hugging face"), ("/hfx", "gradio"),
        ("/v1/ws", "websocket"), ("/v1/ws/x", "rest"),
        ("/sdapi/v1/txt2img", "a1111"), ("/sdapi/v2", "a1111"),
        ("/gradio_api/mcp", "mcp"), ("/gradio_api/mcp/sse", "mcp"), ("/gradio_api/mcpx", "gradio"),
        ("/login", "login"), ("/login/token", "login"), ("/logout", "login"),
        ("/docs", "docs"), ("/docs-assets/a.css", "docs"), ("/openapi.json", "docs"), ("/healthz", "docs"),
        ("/page-assets/a.webp", "page assets"),
        ("/readyz", "docs"), ("/favicon.ico", "gradio files"), ("/static/a.js", "gradio files"),
        ("/assets/a.js", "gradio files"), ("/gradio_api/startup-events", "gradio files"),
        ("/", "gradio"), ("/config", "gradio"), ("/gradio_api/call/txt2img", "gradio"), ("/loginx", "gradio"),
        ("/docs-other", "gradio"), ("/v10/txt2img", "gradio"), ("/healthz.txt", "gradio"), ("//docs", "gradio"),
        ("/favicon.ico/x", "gradio"),
    ],
)  # fmt: skip
def test_each_path_has_its_door(doors: Sequence[Door], path: str, door: str) -> None:
    assert find_door(doors, path).name == door


@pytest.mark.parametrize(
    ("method", "target"),
    [("OPTIONS", "*"), ("GET", "http://127.0.0.1/docs"), ("GET", "http://127.0.0.1/v1/jobs"), ("GET", "docs")],
)
async def test_a_target_that_is_no_path_is_for_the_page_behind_its_sign_in(
    tmp_path: Path, method: str, target: str
) -> None:
    (tmp_path / "data").mkdir()
    key = KeyStore(get_keys_path(Settings(data_dir=tmp_path / "data", access="keys"))).add("ann")
    async with run_in_process_studio(tmp_path, access="keys") as studio:

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await studio.app({**scope, "path": target, "raw_path": target.encode()}, receive, send)

        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            refused = await client.request(method, "/")
            served = await client.request(method, "/", headers={"Authorization": f"Bearer {key}"})
    assert (refused.status_code, refused.json()["code"]) == (401, "sign_in_required")
    assert (served.status_code, served.text) == (200, "the page")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/nothing", {"error": {"code": "not_found", "message": "This resource does not exist."}}),
        ("/sdapi/v1/nothing", {"error": "not_found", "detail": "This resource does not exist.", "body": "",
                               "errors": "This resource does not exist."}),
        ("/login/nothing", {"detail": "This resource does not exist.", "code": "not_found"}),
        ("/v1/images/edits/nothing", {"error": {"message": "This resource does not exist.", "type": "not_found_error",
                                                "param": None, "code": "not_found"}}),
    ],
)  # fmt: skip
async def test_an_error_has_the_form_of_its_door(studio: InProcessStudio, path: str, body: dict[str, Any]) -> None:
    response = await studio.client_without_token.get(path)
    assert (response.status_code, response.json()) == (404, body)


async def test_an_error_has_the_form_of_its_door_below_a_path_prefix(tmp_path: Path) -> None:
    async with run_in_process_studio(tmp_path, public_url="http://127.0.0.1/here") as studio:
        response = await studio.client_without_token.get("/here/sdapi/v1/nothing")
    assert response.json()["errors"] == "This resource does not exist."


@pytest.mark.parametrize(
    ("path", "scheme", "status"),
    [("/sdapi/v1/samplers", "Basic", 200), ("/v1/models", "Basic", 401), ("/v1/models", "Bearer", 200),
     ("/sdapi/v1/samplers", "Bearer", 200)],
)  # fmt: skip
async def test_a_door_accepts_its_own_credentials(tmp_path: Path, path: str, scheme: str, status: int) -> None:
    settings = {"data_dir": tmp_path / "data", "access": "keys"}
    (tmp_path / "data").mkdir()
    key = KeyStore(get_keys_path(Settings.model_validate(settings))).add("ann")
    value = key if scheme == "Bearer" else base64.b64encode(f"ann:{key}".encode()).decode()
    async with run_in_process_studio(tmp_path, access="keys") as studio:
        headers = {"Authorization": f"{scheme} {value}"}
        response = await studio.client_without_token.get(path, headers=headers)
    assert response.status_code == status


@pytest.mark.parametrize(
    ("credentials", "scheme"), [(DEFAULT_CREDENTIALS, "Bearer"), (DEFAULT_CREDENTIALS | {"basic"}, "Basic")]
)
def test_a_refused_request_is_told_which_credentials_a_door_accepts(credentials: Any, scheme: str) -> None:
    door = Door(name="door", format_error=format_gradio_error, credentials=credentials)
    response = build_error_response(SignInRequired(what="a key"), door)
    assert response.headers["WWW-Authenticate"] == f'{scheme} realm="studio"'


@pytest.mark.parametrize(
    ("error", "header", "value"),
    [
        (MethodNotAllowed("GET"), "Allow", "GET"),
        (QueueFull(waiting=1, retry_after=7), "Retry-After", "7"),
        (map_http_exception(KeyError("x")), "X-Should-Retry", "false"),
    ],
)
def test_an_error_response_has_the_headers_of_its_error(error: ImageGenError, header: str, value: str) -> None:
    door = Door(name="door", format_error=format_gradio_error)
    assert build_error_response(error, door).headers[header] == value


@pytest.mark.parametrize(
    ("path", "prefix", "expected"),
    [("/v1", "/v1", True), ("/v1/x", "/v1", True), ("/v10", "/v1", False), ("/x", "/", True), ("/", "/", True)],
)
def test_prefixes_match_whole_segments(path: str, prefix: str, expected: bool) -> None:
    assert has_prefix(path, prefix) is expected


async def test_a_new_door_needs_only_its_own_definition() -> None:
    """Its routes, its error form and the routing follow from the list."""
    router = APIRouter()
    router.add_api_route("/new/hello", lambda: "hello", methods=["GET"])
    new = Door(name="new", format_error=lambda error: {"new": error.code}, router=router, prefixes=("/new",))
    doors = (new, Door(name="page", format_error=format_gradio_error, prefixes=("/",)))
    app = Gateway(doors, create_api(doors), serve_page, root_path="")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://studio") as client:
        assert (await client.get("/new/hello")).json() == "hello"
        assert (await client.get("/new/other")).json() == {"new": "not_found"}
        assert (await client.get("/hello")).text == "the page"


class Recording(Middleware):
    """Adds its name to the state of a request."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        super().__init__(app)
        self.name = name

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = [*scope.get("state", []), self.name]
        await self.app(scope, receive, send)


async def test_middlewares_run_in_the_order_of_their_list() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope.get("state"))

    composed = compose(app, [lambda inner: Recording(inner, "first"), lambda inner: Recording(inner, "second")])
    for scope in (make_scope(), {"type": "lifespan"}):
        await composed(scope, receive_nothing, send_nothing)
    assert seen == [["first", "second"], None]


async def receive_nothing() -> dict[str, Any]:
    return {"type": "http.disconnect"}


async def send_nothing(message: Any) -> None:
    """Drops a message."""


async def test_an_error_after_the_start_of_a_response_is_raised_again() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise NotFound

    door = Door(name="door", format_error=format_gradio_error, prefixes=("/",))
    with pytest.raises(NotFound):
        await ErrorRendering(app, [door])(make_scope(), receive_nothing, send_nothing)


async def test_a_refused_websocket_is_closed_before_it_is_accepted() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise UnknownRoute

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    door = Door(name="door", format_error=format_gradio_error, prefixes=("/",))
    await ErrorRendering(app, [door])({**make_scope(), "type": "websocket"}, receive_nothing, send)
    assert sent == [{"type": "websocket.close", "code": 4403}]
