"""Every route that there is, for nobody, for somebody, for somebody else, and for an administrator."""

from __future__ import annotations

import io
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.routing import iter_route_contexts
from gradio.routes import App
from PIL import Image
from starlette.routing import BaseRoute, Mount

from imagegen.api.doors import Doors
from imagegen.images import ImageStore
from imagegen.jobs import JobStore
from imagegen.service import Service
from imagegen.settings import Settings
from tests.acceptance.conftest import ALICE, BOB, BOSS, Studio, awaited, program
from tests.doubles import ScriptedWorker, library
from ui.app import build_ui

# In the order in which they ask. All ask for what is alice's, who comes last: some of it is gone when it was seen.
CALLERS = {"nobody": None, "bob": BOB, "boss": BOSS, "alice": ALICE}
GRADIO = "/gradio_api"
# Of all fields of a request, by their order.
VALUES: list[Any] = ["a red circle", "", None, None, 1, None, None, None, 1, 0, None, [], [], [], 0]
TABLE = {
    "open": """
        GET /assets/{path:path} /docs /favicon.ico /gradio_api/startup-events /gradio_api/theme.css /healthz
            /login/callback /login/provider /logout /manifest.json /openapi.json /pwa_icon /pwa_icon/{size} /readyz
            /robots.txt /static/{path:path} /svelte/{path:path} /theme.css
        HEAD /openapi.json
        POST /login /login/ticket /login/token /logout
        ANY /docs-assets /v1/ws
    """,
    "led to sign in": """
        GET /
        HEAD /
    """,
    "led home": """
        GET /login
    """,
    "signed-in": """
        GET /config /gradio_api/app_id /gradio_api/info /gradio_api/login_check /gradio_api/mcp/schema
            /gradio_api/mcp/sse /gradio_api/queue/status /gradio_api/user /sdapi/v1/cmd-flags /sdapi/v1/embeddings
            /sdapi/v1/face-restorers /sdapi/v1/hypernetworks /sdapi/v1/latent-upscale-modes /sdapi/v1/loras
            /sdapi/v1/memory /sdapi/v1/options /sdapi/v1/progress /sdapi/v1/prompt-styles /sdapi/v1/realesrgan-models
            /sdapi/v1/samplers /sdapi/v1/schedulers /sdapi/v1/script-info /sdapi/v1/scripts /sdapi/v1/sd-models
            /sdapi/v1/sd-vae /sdapi/v1/upscalers /v1/embeddings/list /v1/loras/list /v1/models /v1/models/list
            /v1/models/{model_id:path}
        HEAD /gradio_api/mcp/schema /gradio_api/mcp/sse
        POST /gradio_api/call/v2/{api_name} /gradio_api/call/{api_name} /gradio_api/upload /sdapi/v1/extra-batch-images
            /sdapi/v1/extra-single-image /sdapi/v1/img2img /sdapi/v1/interrogate /sdapi/v1/interrupt /sdapi/v1/options
            /sdapi/v1/png-info /sdapi/v1/refresh-checkpoints /sdapi/v1/refresh-embeddings /sdapi/v1/refresh-loras
            /sdapi/v1/skip /sdapi/v1/txt2img /v1/images/edits /v1/images/generations /v1/images/variations /v1/img2img
            /v1/jobs /v1/txt2img
        ANY /gradio_api/mcp /gradio_api/mcp/messages
    """,
    "owned": """
        GET /gradio_api/call/v2/{api_name}/{event_id} /gradio_api/call/{api_name}/{event_id}
            /gradio_api/file={path_or_url:path} /gradio_api/heartbeat/{session_hash} /gradio_api/queue/data
            /gradio_api/upload_progress /v1/images/{picture_id} /v1/jobs/{job_id} /v1/jobs/{job_id}/events
        HEAD /gradio_api/file={path_or_url:path}
        POST /gradio_api/cancel /gradio_api/queue/join /gradio_api/reset
        DELETE /v1/jobs/{job_id}
    """,
    "administrators": """
        POST /v1/embeddings/load /v1/embeddings/unload /v1/loras/load /v1/loras/unload /v1/models/load
            /v1/models/unload
    """,
    "closed": """
        GET /gradio_api/custom_component/{id}/{environment}/{type}/{file_name} /gradio_api/deep_link
            /gradio_api/dev/reload /gradio_api/file/{path:path} /gradio_api/openapi.json
            /gradio_api/proxy={url_path:path} /gradio_api/run-history/buckets /gradio_api/run-history/records
            /gradio_api/run-history/records/{endpoint}/{record_id}/assets/{asset_id} /gradio_api/runs
            /gradio_api/stream/{session_hash}/{run}/{component_id}/playlist-file
            /gradio_api/stream/{session_hash}/{run}/{component_id}/playlist.m3u8
            /gradio_api/stream/{session_hash}/{run}/{component_id}/{segment_id}.{ext} /gradio_api/token
            /gradio_api/vibe-code /monitoring /monitoring/summary /monitoring/{key}
        HEAD /gradio_api/proxy={url_path:path}
        POST /gradio_api/api/{api_name} /gradio_api/component_server /gradio_api/process_recording
            /gradio_api/run-history/connect /gradio_api/run/{api_name} /gradio_api/stream/{event_id}
            /gradio_api/stream/{event_id}/close /gradio_api/undo-vibe-edit /gradio_api/vibe-code /gradio_api/vibe-edit
            /gradio_api/vibe-starter-queries
    """,
}


def table() -> dict[str, str]:
    """The group of each route, by its method and path."""
    found, method = {}, ""
    for group, routes in TABLE.items():
        for word in routes.split():
            if word.startswith("/"):
                found[f"{method} {word}"] = group
            else:
                method = word
    return found


def is_kept(group: str, found: dict[str, int]) -> bool:
    """Whether the promise that a group of routes stands for is."""
    nobody, bob, boss, alice = (found[name] for name in CALLERS)
    match group:
        case "open":
            return nobody == bob == boss == alice < 500
        case "led to sign in":
            return nobody == 303 and bob == boss == alice == 200
        case "led home":
            return nobody == 200 and bob == boss == alice == 303
        case "signed-in":
            return nobody == 401 and bob == boss == alice < 500 and alice not in (401, 403)
        case "owned":
            return (nobody, bob, boss, alice) == (401, 404, 404, 200)
        case "administrators":
            return (nobody, bob, alice) == (401, 403, 403) and boss < 500 and boss not in (401, 403)
        case _:
            return (nobody, bob, boss, alice) == (401, 404, 404, 404)


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """All that the studio has, by the tables that its requests are routed with."""
    return awaited(routed(tmp_path_factory.mktemp("routes")))


async def routed(folder: Path) -> list[str]:
    """Gradio expects a loop where it is built."""
    settings = Settings(data_dir=folder)
    jobs = JobStore(folder / "jobs.sqlite")
    service = Service(settings, library(folder), jobs, ImageStore(folder), ScriptedWorker())
    doors = Doors(settings, service)
    page = App.create_app(build_ui(service), mcp_server=True)
    found = sorted({*named(doors.routes.routes), *named(page.routes)})
    doors.close()
    jobs.close()
    return found


def named(routes: Sequence[BaseRoute], under: str = "") -> Iterator[str]:
    for context in iter_route_contexts(routes):
        path = f"{under}{context.path or ''}"
        if isinstance(context.route, Mount) and context.route.routes:
            yield from named(context.route.routes, path)
        for method in context.methods or ["ANY"]:
            yield f"{method} {path}"


class Things:
    """What alice has, by the names that routes have for it."""

    def __init__(self, alice: httpx2.Client) -> None:
        self.alice = alice
        self.session, self.upload_id = secrets.token_hex(8), secrets.token_hex(8)
        alice.post(f"{GRADIO}/queue/join", json={"data": [], "fn_index": 0, "session_hash": self.session})
        made = alice.post("/v1/txt2img", json={"prompt": "a red circle", "steps": 1}).json()
        self.job, self.picture = made["job_id"], made["id"]
        content = io.BytesIO()
        Image.new("RGB", (64, 64), "red").save(content, "PNG")
        self.picture_file = {"files": ("red.png", content.getvalue())}
        self.first_event = self.event()
        (self.upload,) = alice.post(f"{GRADIO}/upload?upload_id={self.upload_id}", files=self.picture_file).json()

    def event(self) -> str:
        event: str = self.alice.post(f"{GRADIO}/call/txt2img", json={"data": VALUES}).json()["event_id"]
        return event

    def address(self, path: str) -> str:
        known = {"job_id": self.job, "picture_id": self.picture, "session_hash": self.session, "api_name": "txt2img"}
        known["model_id"] = "embedded"
        if "{event_id}" in path:
            known["event_id"] = self.event()
        if path.startswith(f"{GRADIO}/file="):
            known["path_or_url"] = self.upload
        query = {
            f"{GRADIO}/queue/data": f"?session_hash={self.session}",
            f"{GRADIO}/upload_progress": f"?upload_id={self.upload_id}",
        }
        filled = re.sub(r"\{(\w+)(:path)?\}", lambda found: known.get(found[1], "x"), path)
        return filled + query.get(path, "")

    def body(self, route: str) -> dict[str, Any]:
        call = {"data": [], "fn_index": 0, "session_hash": self.session}
        bodies: dict[str, dict[str, Any]] = {
            "POST /v1/models/load": {"json": {"model": "some/where"}},
            "POST /v1/models/unload": {"json": {"model": "some/where", "delete": True}},
            "POST /v1/loras/load": {"json": {"lora": "some/where"}},
            "POST /v1/loras/unload": {"json": {"lora": "some/where", "delete": True}},
            "POST /v1/embeddings/load": {"json": {"embedding": "some/where"}},
            "POST /v1/embeddings/unload": {"json": {"embedding": "some/where", "delete": True}},
            f"POST {GRADIO}/upload": {"files": self.picture_file},
            f"POST {GRADIO}/queue/join": {"json": call},
            f"POST {GRADIO}/cancel": {"json": call | {"event_id": self.first_event}},
            f"POST {GRADIO}/reset": {"json": {"event_id": self.first_event}},
            f"POST {GRADIO}/call/{{api_name}}": {"json": {"data": VALUES}},
            f"POST {GRADIO}/call/v2/{{api_name}}": {"json": {"prompt": "a red circle", "steps": 1}},
        }
        return bodies.get(without_slash(route), {} if route.startswith(("GET", "HEAD")) else {"json": {}})


def answers(route: str, things: Things, callers: dict[str, httpx2.Client]) -> dict[str, int]:
    method, path = route.split(" ")
    found, method = {}, method.replace("ANY", "GET")
    address, body = things.address(path), things.body(route)
    for name, web in callers.items():
        with web.stream(method, address, **body) as answer:
            found[name] = answer.status_code
    return found


def without_slash(route: str) -> str:
    """Gradio has many of its routes twice."""
    return re.sub(r"(?<=\S)/$", "", route)


def test_the_table_has_each_route_and_no_other(routes: list[str]) -> None:
    assert sorted({without_slash(route) for route in routes}) == sorted(table())


def test_each_route_is_for_those_that_it_is_for(routes: list[str], guarded: Studio) -> None:
    groups, broken = table(), {}
    with ExitStack() as stack:
        callers = {name: stack.enter_context(program(guarded, token)) for name, token in CALLERS.items()}
        things = Things(callers["alice"])
        for route in routes:
            found, group = answers(route, things, callers), groups.get(without_slash(route), "in the table")
            if not is_kept(group, found):
                broken[route] = (group, found)
    assert broken == {}
