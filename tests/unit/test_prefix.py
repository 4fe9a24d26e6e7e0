"""A studio behind a proxy, at an address with a path."""

from pathlib import Path

import pytest

from imagegen.access.keys import Keys
from tests.unit.doors import studio


@pytest.mark.parametrize("prefix", ["", "/studio"], ids=["taken away by the proxy", "kept by the proxy"])
async def test_signing_in_leads_to_where_the_page_is(tmp_path: Path, prefix: str) -> None:
    key = Keys(tmp_path / "data" / "keys.json").add("alice")
    async with studio(tmp_path, access="keys", public_url="http://127.0.0.1/studio") as behind:
        page = await behind.web.get(f"{prefix}/login")
        assert 'action="/studio/login/token"' in page.text
        answer = await behind.web.post(f"{prefix}/login/token", data={"token": key})
        assert (answer.status_code, answer.headers["Location"]) == (303, "/studio/")
        assert (await behind.web.get(f"{prefix}/v1/models/list")).status_code == 200
        assert "/studio/docs-assets/" in (await behind.web.get(f"{prefix}/docs")).text
        answer = await behind.web.post(f"{prefix}/logout")
        assert (answer.status_code, answer.headers["Location"]) == (303, "/studio/")
        assert (await behind.web.get(f"{prefix}/v1/models/list")).status_code == 401
