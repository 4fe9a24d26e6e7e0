"""Links to pictures: each is for one picture, needs no sign-in, and expires."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from imagegen.access.keys import KeyStore, get_keys_path
from imagegen.access.sessions import get_session_secret
from imagegen.api.openai.picture_links import LINK_LIFETIME_SECONDS, PictureLinks
from imagegen.settings import Settings
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio
from tests.unit.wait import wait_until_true


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[InProcessStudio]:
    async with run_in_process_studio(tmp_path, access="keys") as studio:
        yield studio


@pytest.fixture
async def link(studio: InProcessStudio) -> str:
    """The link in the answer to a request for a JPEG file."""
    key = KeyStore(get_keys_path(studio.service.settings)).add("ann")
    body = {"prompt": "a red circle", "response_format": "url", "output_format": "jpeg", "output_compression": 60}
    async with studio.make_client(key) as client:
        return await complete(studio, client.post("/v1/images/generations", json=body))


async def complete(studio: InProcessStudio, pending: Any) -> str:
    task = asyncio.ensure_future(pending)
    await wait_until_true(lambda: studio.worker.submitted)
    studio.finish_job()
    url: str = (await task).json()["data"][0]["url"]
    return url


async def test_a_link_gives_the_picture_without_sign_in(studio: InProcessStudio, link: str) -> None:
    assert re.search(r"/v1/images/signed/[0-9a-f]{32}\.jpeg\?", link)
    answer = await studio.client_without_token.get(link)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.content.startswith(b"\xff\xd8")
    (seconds,) = re.findall(r"^private, max-age=(\d+), immutable$", answer.headers["cache-control"])
    assert 0 < int(seconds) <= LINK_LIFETIME_SECONDS


async def test_a_tag_on_another_site_shows_the_picture(studio: InProcessStudio, link: str) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    assert (await studio.client_without_token.get(link, headers=headers)).status_code == 200


async def test_credentials_that_do_not_fit_do_not_matter(studio: InProcessStudio, link: str) -> None:
    """Open WebUI sends its key to the address of the picture too."""
    headers = {"Authorization": "Bearer of-someone-else"}
    assert (await studio.client_without_token.get(link, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r"signed/[0-9a-f]{32}", "signed/" + "0" * 32),
        (r"\.jpeg", ".webp"),
        ("quality=60", "quality=61"),
        (r"expires=(\d)", r"expires=9\1"),
        (r"signature=.{3}", "signature=AAA"),
        (r"signature=.*", "signature=%ff%00"),
        (r"signed/[0-9a-f]{32}", "signed/..%2f..%2fsession_secret"),
    ],
    ids=["picture", "format", "quality", "expiry", "signature", "no text", "path"],
)
async def test_a_changed_link_is_refused(studio: InProcessStudio, link: str, pattern: str, replacement: str) -> None:
    answer = await studio.client_without_token.get(re.sub(pattern, replacement, link))
    assert answer.status_code in (403, 404)
    if answer.status_code == 403:
        assert answer.json()["error"]["code"] == "bad_link"
    else:
        assert "signed/.." in replacement


async def test_an_expired_link_says_so(studio: InProcessStudio, link: str) -> None:
    (picture_id,) = re.findall(r"signed/([0-9a-f]{32})", link)
    an_hour_ago = PictureLinks(get_session_secret(studio.service.settings), lambda: time.time() - LINK_LIFETIME_SECONDS)
    answer = await studio.client_without_token.get(an_hour_ago.build_path(picture_id, "jpeg", 60))
    assert (answer.status_code, answer.json()["error"]["code"]) == (410, "link_expired")
    assert answer.json()["error"]["message"].startswith("This link to a picture has expired.")


async def test_a_link_of_another_studio_is_refused(studio: InProcessStudio, link: str, tmp_path: Path) -> None:
    other = PictureLinks(get_session_secret(Settings(data_dir=tmp_path / "other")))
    (picture_id,) = re.findall(r"signed/([0-9a-f]{32})", link)
    answer = await studio.client_without_token.get(other.build_path(picture_id, "jpeg", 60))
    assert answer.json()["error"]["code"] == "bad_link"


async def test_a_link_to_a_deleted_picture_finds_nothing(studio: InProcessStudio, link: str) -> None:
    (picture_id,) = re.findall(r"signed/([0-9a-f]{32})", link)
    studio.service.images.picture_path(picture_id).unlink()
    answer = await studio.client_without_token.get(link)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_picture")


async def test_the_path_without_a_signature_is_refused(studio: InProcessStudio, link: str) -> None:
    answer = await studio.client_without_token.get(link.partition("?")[0])
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "expires")
