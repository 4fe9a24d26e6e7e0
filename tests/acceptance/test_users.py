"""An administrator exports and purges a user of a real studio: nothing of them stays on its disk."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import httpx2
import pytest
from PIL import Image

from imagegen.access.keys import KeyStore
from tests.acceptance.conftest import Studio, make_client

# No other test uses this word.
WORD = "archaeopteryx"
NAMES = ("leaver", "stayer", "chief")


@pytest.fixture
def clients(keys_studio: Studio, keys: KeyStore) -> Iterator[tuple[httpx2.Client, ...]]:
    """Clients of a user who leaves, of one who stays, and of an administrator."""
    with ExitStack() as stack:
        tokens = [keys.add(name, is_administrator=name == "chief") for name in NAMES]
        yield tuple(stack.enter_context(make_client(keys_studio, token)) for token in tokens)


def find_files(studio: Studio, content: bytes) -> list[str]:
    """Returns the files in the data folder that contain these bytes."""
    files = [file for file in studio.data_dir.rglob("*") if file.is_file()]
    return [file.relative_to(studio.data_dir).as_posix() for file in files if content in file.read_bytes()]


def make_start_image(shade: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (64, 64), (shade, 20, 30)).save(buffer, "PNG")
    return buffer.getvalue()


def draw(web: httpx2.Client, start: bytes, **fields: Any) -> dict[str, Any]:
    body = {"init_image": base64.b64encode(start).decode(), "steps": 2, "strength": 1, **fields}
    answer = web.post("/v1/img2img", json=body)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def read_all(studio: Studio, web: httpx2.Client) -> dict[str, bytes]:
    """Returns all files of a user's pictures and of their start images, by address."""
    pictures = web.get("/v1/pictures").json()["pictures"]
    starts = [f"/v1/inputs/{picture['receipt']['init_image']}" for picture in pictures]
    return {address: web.get(address).content for address in (*(picture["url"] for picture in pictures), *starts)}


def test_a_purged_user_leaves_nothing_and_others_keep_everything(
    keys_studio: Studio, keys: KeyStore, clients: tuple[httpx2.Client, ...]
) -> None:
    leaver, stayer, chief = clients
    shared, own = make_start_image(1), make_start_image(2)
    made = draw(leaver, shared, prompt=f"an {WORD} in a tree")
    draw(leaver, own, prompt=f"an {WORD} in the rain")
    draw(stayer, shared, prompt="a wren in a tree")
    leaver.patch(f"/v1/pictures/{made['id']}", json={"albums": [f"{WORD} of the year"]})
    leaver.get(f"/v1/pictures/{made['id']}/thumbnail")
    leaver.post("/gradio_api/upload", files={"files": ("note.txt", f"the {WORD}".encode())})
    for _ in range(3):  # One runs, or none any more; the others wait.
        leaver.post("/v1/jobs", json={"prompt": f"an {WORD} that flies", "steps": 100})
    with make_client(keys_studio) as browser:
        browser.post("/login/token", data={"token": keys.add("leaver")})
        leaver.headers["Authorization"] = f"Bearer {keys.add('leaver')}"
        before = read_all(keys_studio, stayer)
        assert len(before) == 2 and find_files(keys_studio, WORD.encode())
        purged = chief.delete("/v1/users/leaver").json()
        assert browser.get("/v1/pictures").status_code == 401
    assert purged["pictures"] == 2 and purged["inputs"] == 2 and purged["jobs"] == 5 and purged["albums"] == 1
    assert purged["is_erased"] and purged["uploads"] == 1 and purged["sessions"] == 1 and purged["copies"] == []
    assert find_files(keys_studio, WORD.encode()) == []
    assert find_files(keys_studio, b"leaver") == ["keys.json"]  # A purge does not take away access.
    assert read_all(keys_studio, stayer) == before
    assert leaver.get("/v1/pictures").json() == {"pictures": [], "next": None}
    assert leaver.get("/v1/jobs").json()["jobs"] == []
    records = [json.loads(line) for line in keys_studio.log.read_text().splitlines() if '"user_purged"' in line]
    assert [(record["administrator"], record["user"]) for record in records] == [("chief", "leaver")]
    assert WORD not in str(records)


def test_an_export_streams_all_that_a_user_has(keys_studio: Studio, clients: tuple[httpx2.Client, ...]) -> None:
    _, stayer, chief = clients
    made = draw(stayer, make_start_image(3), prompt="a robin")
    before = read_all(keys_studio, stayer)
    answer = chief.get("/v1/users/stayer/export")
    assert "content-length" not in answer.headers
    with ZipFile(BytesIO(answer.content)) as archive:
        document = json.loads(archive.read("user.json"))
        assert archive.read(f"pictures/{made['id']}.png") == before[f"/v1/images/{made['id']}"]
        start = made["receipt"]["init_image"]
        assert archive.read(f"inputs/{start}.png") == before[f"/v1/inputs/{start}"]
    assert {job["id"]: job["state"] for job in document["jobs"]}[made["job_id"]] == "done"
    assert next(each for each in document["pictures"] if each["id"] == made["id"])["receipt"] == made["receipt"]
    assert "stayer" in [user["id"] for user in chief.get("/v1/users").json()["users"]]
