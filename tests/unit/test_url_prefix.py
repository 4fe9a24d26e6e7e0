"""A studio behind a proxy, under a path."""

from pathlib import Path

import pytest

from imagegen.access.keys import KeyStore
from tests.unit.in_process_studio import run_in_process_studio


@pytest.mark.parametrize("prefix", ["", "/studio"], ids=["taken away by the proxy", "kept by the proxy"])
async def test_signing_in_leads_to_where_the_page_is(tmp_path: Path, prefix: str) -> None:
    key = KeyStore(tmp_path / "data" / "keys.json").add("alice")
    async with run_in_process_studio(
        tmp_path, access="keys", public_url="http://127.0.0.1/studio"
    ) as in_process_studio:
        page = await in_process_studio.client_without_token.get(f"{prefix}/login")
        assert 'action="/studio/login/token"' in page.text
        answer = await in_process_studio.client_without_token.post(f"{prefix}/login/token", data={"token": key})
        assert (answer.status_code, answer.headers["Location"]) == (303, "/studio/")
        assert (await in_process_studio.client_without_token.get(f"{prefix}/v1/models/list")).status_code == 200
        assert "/studio/docs-assets/" in (await in_process_studio.client_without_token.get(f"{prefix}/docs")).text
        for file in ("docs-assets/swagger-ui.css", "page-assets/examples/boat.webp"):
            assert (await in_process_studio.client_without_token.get(f"{prefix}/{file}")).status_code == 200
        answer = await in_process_studio.client_without_token.post(f"{prefix}/logout")
        assert (answer.status_code, answer.headers["Location"]) == (303, "/studio/")
        assert (await in_process_studio.client_without_token.get(f"{prefix}/v1/models/list")).status_code == 401


async def test_the_address_of_a_job_has_the_path(tmp_path: Path) -> None:
    async with run_in_process_studio(tmp_path, public_url="http://127.0.0.1/studio") as studio:
        answer = await studio.client_without_token.post("/studio/v1/jobs", json={"prompt": "a"})
        assert answer.headers["Location"] == f"/studio/v1/jobs/{answer.json()['id']}"
        assert (await studio.client_without_token.get(answer.headers["Location"])).status_code == 200


async def test_the_path_without_its_last_slash_leads_to_the_page(tmp_path: Path) -> None:
    async with run_in_process_studio(tmp_path, public_url="http://127.0.0.1/studio") as studio:
        answer = await studio.client_without_token.get("/studio")
        assert (answer.status_code, answer.headers["Location"]) == (307, "/studio/")
        assert (await studio.client_without_token.get("/studio/")).text == "the page"
