"""HEAD, OPTIONS and CORS on all routes, and JSON without its Content-Type."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from imagegen.schema.events import Progress
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio
from tests.unit.stored_jobs import read_job
from tests.unit.wait import wait_until_true

FRIEND = "https://friend.example"


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[InProcessStudio]:
    async with run_in_process_studio(tmp_path, origins=FRIEND) as studio:
        yield studio


async def make_picture(studio: InProcessStudio) -> tuple[str, str]:
    """Returns the ids of a finished job and of its picture."""
    answer = await studio.client_without_token.post("/v1/jobs", json={"prompt": "a red circle"})
    await wait_until_true(lambda: len(studio.worker.submitted) == 1)
    job_id, picture_id = answer.json()["id"], studio.finish_job().pictures[0].id
    await wait_until_true(lambda: read_job(studio.service, job_id).state == "done")
    return job_id, picture_id


async def test_head_is_answered_like_get_without_a_body(studio: InProcessStudio) -> None:
    job, picture = await make_picture(studio)
    image = studio.service.images.add_input(studio.service.images.picture_path(picture), "init_image")
    known = {"path": "swagger-ui.css", "user_id": "ann"}
    names = known | {
        "image_id": image,
        "job_id": job,
        "picture_id": picture,
        "model_id": "embedded",
        "file_format": "png",
    }
    routes = [context.route for context in iter_route_contexts(studio.doors.routes.routes)]
    got_routes = [route for route in routes if isinstance(route, APIRoute) and "GET" in (route.methods or ())]
    paths = [route.path.replace(":path", "").format_map(names) for route in got_routes]
    assert {"/healthz", "/readyz", "/docs", "/v1/models", f"/v1/images/{picture}", f"/v1/jobs/{job}/events"} < set(
        paths
    )
    for path in [
        *paths,
        "/openapi.json",
        "/docs-assets/swagger-ui.css",
        "/",
        "/config",
        "/v1/nothing",
        "/v1/jobs/nobody's",
    ]:
        got, head = [await studio.client_without_token.request(method, path) for method in ("GET", "HEAD")]
        assert (head.status_code, dict(head.headers), head.content) == (got.status_code, dict(got.headers), b""), path


async def test_head_on_the_events_of_a_running_job_ends_at_once_and_does_not_cancel_it(studio: InProcessStudio) -> None:
    answer = await studio.client_without_token.post("/v1/jobs", json={"prompt": "a red circle"})
    job = answer.json()["id"]
    await wait_until_true(lambda: len(studio.worker.submitted) == 1)
    studio.worker.emit_event(job, Progress(step=1, steps=9, seconds_left=1.0))
    head = await studio.client_without_token.head(f"/v1/jobs/{job}/events")
    assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert (await studio.client_without_token.get(f"/v1/jobs/{job}")).json()["state"] == "running"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/healthz", "GET, HEAD, OPTIONS"), ("/v1/txt2img", "OPTIONS, POST"), ("/v1/models/list", "GET, HEAD, OPTIONS"),
     ("/sdapi/v1/txt2img", "OPTIONS, POST"), ("/v1/images/generations", "GET, HEAD, OPTIONS, POST"),
     ("/login/token", "OPTIONS, POST"), ("/v1/jobs/1", "DELETE, GET, HEAD, OPTIONS")],
)  # fmt: skip
async def test_options_lists_the_methods_of_a_route(studio: InProcessStudio, path: str, allowed: str) -> None:
    answer = await studio.client_without_token.options(path)
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, allowed, b"")


async def test_another_method_is_refused_with_those_that_are_allowed(studio: InProcessStudio) -> None:
    answer = await studio.client_without_token.put("/v1/jobs/1")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS")


async def test_a_path_that_does_not_exist_has_no_options(studio: InProcessStudio) -> None:
    assert (await studio.client_without_token.options("/v1/nothing")).status_code == 404


async def test_a_page_of_an_allowed_site_may_send_and_read_everything(studio: InProcessStudio) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    preflight = await studio.client_without_token.options("/v1/jobs", headers={"Origin": FRIEND, **asked})
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == FRIEND
    assert preflight.headers["access-control-allow-headers"] == "authorization,content-type"
    assert {"GET", "POST", "DELETE"} <= set(preflight.headers["access-control-allow-methods"].split(", "))
    for path in ("/v1/jobs", "/v1/nothing"):
        answer = await studio.client_without_token.post(path, json={"prompt": "a"}, headers={"Origin": FRIEND})
        assert answer.headers["access-control-allow-origin"] == FRIEND
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "Retry-After" in answer.headers["access-control-expose-headers"]


async def test_a_page_of_another_site_may_not(studio: InProcessStudio) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    preflight = await studio.client_without_token.options("/v1/jobs", headers=headers)
    answer = await studio.client_without_token.post("/v1/jobs", json={"prompt": "a"}, headers=headers)
    assert (preflight.status_code, answer.status_code) == (400, 403)
    assert "access-control-allow-origin" not in {**preflight.headers, **answer.headers}


JSON_ROUTES = ("/v1/jobs", "/sdapi/v1/options", "/v1/models/unload")
BODIES = {"/v1/jobs": {"prompt": "a"}, "/sdapi/v1/options": {}, "/v1/models/unload": {"model": "embedded"}}


@pytest.mark.parametrize("path", JSON_ROUTES)
@pytest.mark.parametrize(
    "content_type", [None, "application/x-www-form-urlencoded", "text/plain;charset=UTF-8", "application/octet-stream"]
)
async def test_json_is_recognised_without_its_content_type(
    studio: InProcessStudio, path: str, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    content = f"\n {json.dumps(BODIES[path])}"
    answer = await studio.client_without_token.post(path, content=content, headers=headers)
    assert answer.status_code in (200, 202), answer.text


@pytest.mark.parametrize("path", [*JSON_ROUTES, "/v1/images/generations", "/sdapi/v1/txt2img"])
async def test_a_form_is_refused_and_told_which_header_is_missing(studio: InProcessStudio, path: str) -> None:
    answer = await studio.client_without_token.post(path, data={"prompt": "a"})
    assert answer.status_code == 400
    assert "'Content-Type: application/json'" in answer.text


async def test_a_page_of_another_site_gains_nothing_by_sending_json_as_text(studio: InProcessStudio) -> None:
    headers = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
    answer = await studio.client_without_token.post("/v1/jobs", content='{"prompt": "a"}', headers=headers)
    assert answer.status_code == 403 and studio.worker.submitted == []
