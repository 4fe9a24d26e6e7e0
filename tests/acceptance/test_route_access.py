"""Every route, requested without sign-in, by its owner, by another user, and by an administrator."""

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

from imagegen.api.build import ApiBuilder
from imagegen.service import Service
from imagegen.settings import Settings
from imagegen.storage.files import ImageStore
from imagegen.storage.storage import Storage
from tests.acceptance.conftest import ALICE, BOB, BOSS, Studio, make_client, run_coroutine
from tests.doubles import ScriptedWorker, make_library
from ui.app import build_ui

# In the order of the requests. All request alice's resources. She comes last, because reading deletes some of them.
CALLERS = {"nobody": None, "bob": BOB, "boss": BOSS, "alice": ALICE}
GRADIO = "/gradio_api"
# All fields of a request, in their order.
VALUES: list[Any] = [
    *("a red circle", "", None, None, 1, None, None, None, 1, 0, None, [], [], [], 0, None, 0),
    *(1, 0, 0.6, None, 1, None, [], None, []),
    *(None, "", "", 0.4, 0.3, 32),
]
TABLE = {
    "open": """
        GET /assets/{path:path} /docs /docs-assets/{path:path} /favicon.ico /gradio_api/startup-events
            /gradio_api/theme.css /healthz /login/callback /login/provider /logout /manifest.json /openapi.json
            /page-assets/{path:path} /pwa_icon /pwa_icon/{size} /readyz /robots.txt
            /static/{path:path} /svelte/{path:path} /theme.css /v1/images/signed/{picture_id}.{file_format}
        HEAD /docs-assets/{path:path} /openapi.json /page-assets/{path:path}
        POST /login /login/ticket /login/token /logout
        ANY /v1/ws
    """,
    "led to sign in": """
        GET /
        HEAD /
    """,
    "led home": """
        GET /login
    """,
    "signed-in": """
        GET /config /controlnet/control_types /controlnet/model_list /controlnet/module_list /controlnet/settings
            /controlnet/version /gradio_api/app_id /gradio_api/info /gradio_api/login_check /gradio_api/mcp/schema
            /gradio_api/mcp/sse /gradio_api/queue/status /gradio_api/user /sdapi/v1/cmd-flags /sdapi/v1/embeddings
            /sdapi/v1/extensions /sdapi/v1/face-restorers /sdapi/v1/hypernetworks /sdapi/v1/latent-upscale-modes
            /sdapi/v1/loras /sdapi/v1/lycos /sdapi/v1/memory /sdapi/v1/options /sdapi/v1/progress
            /sdapi/v1/prompt-styles /sdapi/v1/realesrgan-models /sdapi/v1/samplers /sdapi/v1/schedulers
            /sdapi/v1/script-info /sdapi/v1/scripts /sdapi/v1/sd-models /sdapi/v1/sd-vae /sdapi/v1/upscalers
            /v1/albums /v1/controlnets/list /v1/controlnets/picture /v1/downloads /v1/embeddings/list /v1/refused_files
            /v1/embeddings/picture /v1/jobs /v1/loras/list
            /v1/loras/picture /v1/models /v1/models/list /v1/models/picture /v1/models/{model_id:path} /v1/pictures
            /v1/pictures/usage /v1/status /v1/ip_adapters/list /v1/ip_adapters/picture
            /v1/detectors/list /v1/detectors/picture /v1/preprocessors/list /v1/preprocessors/picture
            /v1/upscalers/list /v1/upscalers/picture /v1/vaes/list /v1/vaes/picture /v1/wildcards/list
        HEAD /gradio_api/mcp/sse
        POST /controlnet/detect /gradio_api/call/v2/{api_name} /gradio_api/call/{api_name} /gradio_api/mcp
            /gradio_api/mcp/http
            /gradio_api/mcp/messages /gradio_api/upload /hf
            /hf/models/{model_id:path} /sdapi/v1/extra-batch-images /sdapi/v1/extra-single-image /sdapi/v1/img2img
            /sdapi/v1/interrogate /sdapi/v1/interrupt /sdapi/v1/options /sdapi/v1/png-info /sdapi/v1/refresh-checkpoints
            /sdapi/v1/refresh-embeddings /sdapi/v1/refresh-loras /sdapi/v1/refresh-lycos /sdapi/v1/refresh-vae
            /sdapi/v1/reload-checkpoint /sdapi/v1/skip /sdapi/v1/txt2img /sdapi/v1/unload-checkpoint /v1/images/edits
            /v1/images/generations /v1/images/variations /v1/img2img /v1/inpaint /v1/inputs /v1/jobs /v1/outpaint
            /v1/png_info /v1/preprocess /v1/tokens /v1/txt2img /v1/upscale
        DELETE /gradio_api/mcp /gradio_api/mcp/http
    """,
    "owned": """
        GET /gradio_api/call/v2/{api_name}/{event_id} /gradio_api/call/{api_name}/{event_id}
            /gradio_api/file={path_or_url:path} /gradio_api/heartbeat/{session_hash} /gradio_api/queue/data
            /gradio_api/upload_progress /v1/images/{picture_id} /v1/jobs/{job_id} /v1/jobs/{job_id}/events
            /v1/inputs/{image_id} /v1/pictures/{picture_id} /v1/pictures/{picture_id}/thumbnail
        HEAD /gradio_api/file={path_or_url:path}
        POST /gradio_api/cancel /gradio_api/queue/join /gradio_api/reset /v1/jobs/{job_id}/finish /v1/pictures/zip
        PATCH /v1/pictures/{picture_id}
        DELETE /v1/jobs/{job_id} /v1/pictures/{picture_id}
    """,
    "administrators": """
        GET /v1/users /v1/users/{user_id:path}/export
        POST /v1/controlnets/load /v1/controlnets/unload /v1/embeddings/load /v1/embeddings/unload /v1/loras/load
            /v1/loras/unload /v1/models/load
            /v1/models/unload /v1/ip_adapters/load /v1/ip_adapters/unload /v1/detectors/load
            /v1/detectors/unload /v1/preprocessors/load /v1/preprocessors/unload
            /v1/upscalers/load /v1/upscalers/unload /v1/vaes/load /v1/vaes/unload
        DELETE /v1/users/{user_id:path}
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


def parse_access_table() -> dict[str, str]:
    """Returns the group of each route, by method and path."""
    found, method = {}, ""
    for group, routes in TABLE.items():
        for word in routes.split():
            if word.startswith("/"):
                found[f"{method} {word}"] = group
            else:
                method = word
    return found


def is_access_correct(group: str, found: dict[str, int]) -> bool:
    """Returns whether a response fulfils the rule of a group of routes."""
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
    """Returns all routes of the studio, from the tables that route its requests."""
    return run_coroutine(list_routes(tmp_path_factory.mktemp("routes")))


async def list_routes(folder: Path) -> list[str]:
    """Builds the app inside an event loop, as Gradio expects."""
    settings = Settings(data_dir=folder)
    storage = Storage(folder / "jobs.sqlite")
    service = Service(settings, make_library(folder), storage, ImageStore(folder), ScriptedWorker())
    doors = ApiBuilder(settings, service)
    page = App.create_app(build_ui(service))
    found = sorted({*named(doors.routes.routes), *named(page.routes)})
    doors.close()
    storage.close()
    return found


def named(routes: Sequence[BaseRoute], under: str = "") -> Iterator[str]:
    for context in iter_route_contexts(routes):
        path = f"{under}{context.path or ''}"
        if isinstance(context.route, Mount) and context.route.routes:
            yield from named(context.route.routes, path)
        for method in context.methods or ["ANY"]:
            yield f"{method} {path}"


class OwnedResources:
    """Alice's resources, by the names of path parameters."""

    def __init__(self, alice: httpx2.Client) -> None:
        self.alice = alice
        self.session, self.upload_id = secrets.token_hex(8), secrets.token_hex(8)
        alice.post(f"{GRADIO}/queue/join", json={"data": [], "fn_index": 0, "session_hash": self.session})
        made = alice.post("/v1/txt2img", json={"prompt": "a red circle", "steps": 1, "batch_size": 2}).json()
        self.job, self.picture = made["job_id"], made["id"]
        self.deleted_picture: str = made["others"][0]["id"]
        again = {"prompt": "a red circle", "steps": 1, "strength": 1, "init_image": self.picture}
        self.image = alice.post("/v1/img2img", json=again).json()["receipt"]["init_image"]
        content = io.BytesIO()
        Image.new("RGB", (64, 64), "red").save(content, "PNG")
        self.picture_file = {"files": ("red.png", content.getvalue())}
        self.first_event = self.event()
        (self.upload,) = alice.post(f"{GRADIO}/upload?upload_id={self.upload_id}", files=self.picture_file).json()

    def event(self) -> str:
        event: str = self.alice.post(f"{GRADIO}/call/txt2img", json={"data": VALUES}).json()["event_id"]
        return event

    def picture_for(self, method: str) -> str:
        return self.deleted_picture if method == "DELETE" else str(self.picture)

    def address(self, method: str, path: str) -> str:
        known = {
            "job_id": self.job,
            "picture_id": self.picture_for(method),
            "session_hash": self.session,
            "api_name": "txt2img",
        }
        known |= {"model_id": "embedded", "image_id": self.image, "user_id": "nobody of this name"}
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
            "POST /v1/controlnets/load": {"json": {"controlnet": "some/where"}},
            "POST /v1/controlnets/unload": {"json": {"controlnet": "some/where", "delete": True}},
            "POST /v1/ip_adapters/load": {"json": {"ip_adapter": "some/where"}},
            "POST /v1/ip_adapters/unload": {"json": {"ip_adapter": "some/where", "delete": True}},
            "POST /v1/detectors/load": {"json": {"detector": "some/where"}},
            "POST /v1/detectors/unload": {"json": {"detector": "some/where", "delete": True}},
            "POST /v1/preprocessors/load": {"json": {"preprocessor": "some/where"}},
            "POST /v1/preprocessors/unload": {"json": {"preprocessor": "some/where", "delete": True}},
            "POST /v1/vaes/load": {"json": {"vae": "some/where"}},
            "POST /v1/vaes/unload": {"json": {"vae": "some/where", "delete": True}},
            "POST /v1/upscalers/load": {"json": {"upscaler": "some/where"}},
            "POST /v1/upscalers/unload": {"json": {"upscaler": "some/where", "delete": True}},
            "PATCH /v1/pictures/{picture_id}": {"json": {"favourite": True}},
            "POST /v1/pictures/zip": {"json": {"ids": [self.picture]}},
            f"POST {GRADIO}/upload": {"files": self.picture_file},
            f"POST {GRADIO}/queue/join": {"json": call},
            f"POST {GRADIO}/cancel": {"json": call | {"event_id": self.first_event}},
            f"POST {GRADIO}/reset": {"json": {"event_id": self.first_event}},
            f"POST {GRADIO}/call/{{api_name}}": {"json": {"data": VALUES}},
            f"POST {GRADIO}/call/v2/{{api_name}}": {"json": {"prompt": "a red circle", "steps": 1}},
        }
        return bodies.get(without_slash(route), {} if route.startswith(("GET", "HEAD")) else {"json": {}})


def answers(route: str, things: OwnedResources, callers: dict[str, httpx2.Client]) -> dict[str, int]:
    method, path = route.split(" ")
    found, method = {}, method.replace("ANY", "GET")
    address, body = things.address(method, path), things.body(route)
    for name, web in callers.items():
        with web.stream(method, address, **body) as answer:
            found[name] = answer.status_code
    return found


def without_slash(route: str) -> str:
    """Many of Gradio's routes exist twice."""
    return re.sub(r"(?<=\S)/$", "", route)


def test_the_table_has_each_route_and_no_other(routes: list[str]) -> None:
    assert sorted({without_slash(route) for route in routes}) == sorted(parse_access_table())


def test_each_route_is_for_those_that_it_is_for(routes: list[str], guarded: Studio) -> None:
    groups, broken = parse_access_table(), {}
    with ExitStack() as stack:
        callers = {name: stack.enter_context(make_client(guarded, token)) for name, token in CALLERS.items()}
        things = OwnedResources(callers["alice"])
        for route in routes:
            found, group = answers(route, things, callers), groups.get(without_slash(route), "in the table")
            if not is_access_correct(group, found):
                broken[route] = (group, found)
    assert broken == {}
