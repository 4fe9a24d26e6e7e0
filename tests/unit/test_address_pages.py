"""What people and programs read when an address is not set up, and what caches may keep."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imagegen.api.middleware.page_scripts import ADDRESS_SCRIPT, PageScripts
from tests.unit.fake_authority import make_scope
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
REFUSED = [{"Host": "<b>.example"}, {"Host": "evil.example"}, {"Origin": "https://evil.example"}]


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[InProcessStudio]:
    async with run_in_process_studio(tmp_path) as studio:
        yield studio


@pytest.mark.parametrize("headers", REFUSED)
@pytest.mark.parametrize("path", ["/", "/v1/jobs", "/docs"])
async def test_a_browser_gets_a_page_that_says_what_to_set(
    studio: InProcessStudio, path: str, headers: dict[str, str]
) -> None:
    answer = await studio.client_without_token.get(path, headers=headers | BROWSER)
    assert answer.status_code == (403 if "Origin" in headers else 400)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "&#x27;origins&#x27;" in answer.text or "&#x27;hosts&#x27;" in answer.text
    assert "<b>" not in answer.text


@pytest.mark.parametrize("headers", REFUSED)
@pytest.mark.parametrize("path", ["/", "/v1/jobs", "/sdapi/v1/options", "/docs"])
async def test_a_program_gets_the_error_form_of_its_door(
    studio: InProcessStudio, path: str, headers: dict[str, str]
) -> None:
    answer = await studio.client_without_token.get(path, headers=headers)
    assert answer.headers["content-type"] == "application/json"
    assert ("cross_site" if "Origin" in headers else "wrong_host") in answer.text


async def test_other_errors_are_no_pages(studio: InProcessStudio) -> None:
    answer = await studio.client_without_token.get("/v1/jobs/nobody's", headers=BROWSER)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_job")


async def test_shared_caches_keep_only_what_is_for_everyone(studio: InProcessStudio) -> None:
    for path, caching in (
        ("/", "private"), ("/gradio_api/file=/data/pictures/a.png", "private"), ("/v1/models", "private"),
        ("/v1/images/nobody's", "private"), ("/assets/index-6osJUigr.js", "public, max-age=31536000, immutable"),
        ("/static/img/logo.svg", None), ("/healthz", None),
    ):  # fmt: skip
        assert (await studio.client_without_token.get(path)).headers.get("cache-control") == caching, path


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/json"])
async def test_only_the_page_gets_the_script(content_type: str) -> None:
    parts = [b'<link rel="manifest" href="/manifest.json" /><scr', b'ipt type="module" src="a"></script>']
    sent: list[dict[str, object]] = []

    async def app(scope: object, receive: object, send: object) -> None:
        assert callable(send)
        headers = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(b"".join(parts)))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number, part in enumerate(parts):
            await send({"type": "http.response.body", "body": part, "more_body": number == 0})

    async def receive() -> dict[str, object]:
        return {"type": "http.request"}

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message)

    await PageScripts(app)(make_scope("/", "GET"), receive, send)
    (start, body) = sent
    page = body["body"]
    assert isinstance(page, bytes) and (b"content-length", b"%d" % len(page)) in start["headers"]  # type: ignore[operator]
    assert (ADDRESS_SCRIPT in page, b"./manifest.json" in page) == (
        (True, True) if "html" in content_type else (False, False)
    )
