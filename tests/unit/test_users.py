"""An administrator lists, exports and purges users: all of one goes, and nothing of the others."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import httpx
import pytest
from PIL import Image

from imagegen.access.keys import KeyStore
from imagegen.schema.base import User
from imagegen.schema.events import Event, Progress
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio
from tests.unit.test_picture_library import make_pictures, wait_until_ended, wait_until_started

# No other text has this word.
WORD = "quetzalcoatlus"
PROMPT = f"a {WORD} above the sea"


@dataclass
class Office:
    """A studio with keys, and clients of two users and of their administrator."""

    studio: InProcessStudio
    ann: httpx.AsyncClient
    bob: httpx.AsyncClient
    boss: httpx.AsyncClient

    @property
    def data_dir(self) -> Path:
        return self.studio.service.settings.data_dir

    def find_files(self, text: str) -> list[str]:
        """Returns the names of the files of the studio that contain a text."""
        folder = self.studio.service.storage.path.parent
        return [file.name for file in folder.rglob("*") if file.is_file() and text.encode() in file.read_bytes()]


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    (tmp_path / "data").mkdir()
    keys = KeyStore(tmp_path / "data" / "keys.json")
    tokens = {name: keys.add(name, is_administrator=name == "boss") for name in ("ann", "bob", "boss")}
    async with run_in_process_studio(tmp_path, access="keys", requests_per_minute=1000, output_cache=True) as studio:
        clients = [studio.make_client(token) for token in tokens.values()]
        yield Office(studio, *clients)
        for client in clients:
            await client.aclose()


def encode(shade: int) -> str:
    buffer = BytesIO()
    Image.new("RGB", (64, 64), (shade, 0, 0)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


async def submit(client: httpx.AsyncClient, key: str | None = None, **fields: Any) -> str:
    headers = {"Idempotency-Key": key} if key is not None else {}
    answer = await client.post("/v1/jobs", json={"prompt": PROMPT, **fields}, headers=headers)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    return job_id


async def collect(events: AsyncIterator[Event]) -> list[str]:
    return [event.type async for event in events]


async def purge(office: Office, name: str = "ann") -> dict[str, Any]:
    answer = await office.boss.delete(f"/v1/users/{name}")
    assert answer.status_code == 200, answer.text
    purged: dict[str, Any] = answer.json()
    return purged


async def test_only_administrators_may_and_nobody_without_sign_in(office: Office, tmp_path: Path) -> None:
    await make_pictures(office.studio, {}, client=office.ann)
    for method, path in (("GET", "/v1/users"), ("GET", "/v1/users/ann/export"), ("DELETE", "/v1/users/ann")):
        for client in (office.ann, office.bob):
            answer = await client.request(method, path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_allowed")
        assert (await office.studio.client_without_token.request(method, path)).status_code == 401
    async with run_in_process_studio(tmp_path / "open") as studio:
        await make_pictures(studio, {})
        for method, path in (
            ("GET", "/v1/users"),
            ("GET", "/v1/users/at:here/export"),
            ("DELETE", "/v1/users/at:here"),
        ):
            assert (await studio.client_without_token.request(method, path)).status_code == 403
        assert len((await studio.client_without_token.get("/v1/pictures")).json()["pictures"]) == 1


async def test_users_are_listed_with_what_they_have(office: Office) -> None:
    ids = await make_pictures(office.studio, {}, {}, client=office.ann)
    await submit(office.bob, init_image=encode(1))
    images = office.studio.service.images
    sizes = {each: images.picture_path(each).stat().st_size for each in ids}
    (upload,) = images.inputs_dir.iterdir()
    assert (await office.boss.get("/v1/users")).json() == {
        "users": [
            {"id": "ann", "pictures": 2, "jobs": 2, "size_bytes": sum(sizes.values())},
            {"id": "bob", "pictures": 0, "jobs": 1, "size_bytes": upload.stat().st_size},
        ]
    }


async def test_an_export_has_pictures_inputs_jobs_receipts_and_albums(office: Office) -> None:
    image_id = await office.studio.service.add_encoded_input(encode(2), User(id="ann"), "init_image")
    kept, deleted = await make_pictures(
        office.studio, {"prompt": PROMPT, "init_image": image_id, "strength": 0.5}, {}, client=office.ann
    )
    await make_pictures(office.studio, {}, client=office.bob)
    await office.ann.patch(f"/v1/pictures/{kept}", json={"favourite": True, "albums": ["Birds"]})
    await office.ann.delete(f"/v1/pictures/{deleted}")
    answer = await office.boss.get("/v1/users/ann/export")
    assert answer.headers["content-type"] == "application/zip"
    images = office.studio.service.images
    with ZipFile(BytesIO(answer.content)) as archive:
        names = ["user.json", f"pictures/{kept}.png", f"inputs/{image_id}.png"]
        assert archive.testzip() is None and archive.namelist() == names
        assert archive.read(names[1]) == images.picture_path(kept).read_bytes()
        assert archive.read(names[2]) == images.input_path(image_id).read_bytes()
        document = json.loads(archive.read("user.json"))
    assert document["id"] == "ann" and document["albums"] == {"Birds": [kept]} and document["inputs"] == [image_id]
    (picture,) = document["pictures"]
    assert picture["id"] == kept and picture["favourite"] is True
    assert picture["receipt"]["prompt"] == PROMPT and picture["receipt"]["init_image"] == image_id
    assert [job["state"] for job in document["jobs"]] == ["done", "done"]
    assert document["jobs"][0]["id"] == picture["job_id"] and document["jobs"][0]["request"]["prompt"] == PROMPT


async def test_after_a_purge_nothing_of_the_user_is_on_the_disk(office: Office) -> None:
    # Some builds of SQLite overwrite what is removed at once.
    office.studio.service.storage._threads._writer.execute("PRAGMA secure_delete = OFF")
    ids = await make_pictures(
        office.studio, *({"prompt": f"{PROMPT} {number}"} for number in range(3)), client=office.ann
    )
    await office.ann.get(f"/v1/pictures/{ids[0]}/thumbnail")
    await office.ann.patch(f"/v1/pictures/{ids[0]}", json={"albums": [f"Best {WORD}"]})
    await office.ann.delete(f"/v1/pictures/{ids[1]}")
    # What was removed earlier has left traces in the file.
    await office.studio.service.cleaner.clean_pictures(2e9)
    (theirs,) = await make_pictures(office.studio, {"prompt": "a gull"}, client=office.bob)
    assert office.find_files(WORD)
    purged = await purge(office)
    assert purged["pictures"] == 2 and purged["jobs"] == 3 and purged["albums"] == 1 and purged["is_erased"]
    assert office.find_files(WORD) == []
    images = office.studio.service.images
    assert [file.stem for file in images.pictures_dir.iterdir()] == [theirs]
    assert list(images.thumbnails_dir.iterdir()) == []
    assert (await office.ann.get("/v1/pictures")).json()["pictures"] == []
    assert [user["id"] for user in (await office.boss.get("/v1/users")).json()["users"]] == ["bob"]
    found = (await office.bob.get("/v1/pictures?search=gull")).json()["pictures"]
    assert [picture["id"] for picture in found] == [theirs]
    again = await office.boss.delete("/v1/users/ann")
    assert (again.status_code, again.json()["error"]["code"]) == (404, "unknown_user")


async def test_jobs_end_before_they_are_purged_and_those_of_others_go_on(office: Office) -> None:
    running = await submit(office.ann)
    await wait_until_started(office.studio, running)
    queued = await submit(office.ann)
    others = await submit(office.bob)
    office.studio.worker.emit_event(running, Progress(step=1, steps=2))
    events = office.studio.service.events(queued, User(id="ann"))
    assert (await anext(events)).type == "queued"
    watcher = asyncio.create_task(collect(events))
    purged = await purge(office)
    assert purged["cancelled_jobs"] == 2 and purged["jobs"] == 2
    assert office.studio.worker.cancelled == [running]
    assert set(await watcher) <= {"queued", "cancelled"}  # It ends, whether it has seen the last event or not.
    for job_id in (running, queued):
        assert (await office.ann.get(f"/v1/jobs/{job_id}")).status_code == 404
    await wait_until_started(office.studio, others)
    office.studio.finish_job(others)
    await wait_until_ended(office.bob, others)
    assert office.find_files(WORD) == ["jobs.sqlite", "jobs.sqlite-wal"]  # Bob's job has the same prompt.


async def test_a_picture_that_two_users_sent_stays_for_the_other(office: Office) -> None:
    users = [User(id=name) for name in ("ann", "bob")]
    add = office.studio.service.add_encoded_input
    shared, theirs = await add(encode(3), users[0], "init_image"), await add(encode(4), users[1], "init_image")
    own, used = await add(encode(5), users[0], "init_image"), await add(encode(6), users[0], "init_image")
    assert await add(encode(3), users[1], "init_image") == shared
    # A receipt of bob's names it, though it is not his: so it was before uploads had owners.
    await make_pictures(office.studio, {"init_image": used, "strength": 0.5}, client=office.bob)
    images = office.studio.service.images
    before = {each: images.input_path(each).read_bytes() for each in (shared, theirs, used)}
    assert (await purge(office))["inputs"] == 3
    assert {file.stem: file.read_bytes() for file in images.inputs_dir.iterdir()} == before
    assert not images.input_path(own).exists()
    assert (await office.bob.get(f"/v1/inputs/{shared}")).status_code == 200
    assert (await office.ann.get(f"/v1/inputs/{shared}")).status_code == 404


async def test_an_upload_whose_only_owner_is_purged_meanwhile_is_written_again(office: Office) -> None:
    service, bob = office.studio.service, User(id="bob")
    image_id = await service.add_encoded_input(encode(7), User(id="ann"), "init_image")
    write, is_first = service.storage.write, True

    async def purge_before_writing(function: Any) -> Any:
        nonlocal is_first
        if is_first:
            is_first = False
            await purge(office)
        return await write(function)

    vars(service.storage)["write"] = purge_before_writing
    assert await service.add_encoded_input(encode(7), bob, "init_image") == image_id
    assert service.images.input_path(image_id).exists()
    assert (await office.bob.get(f"/v1/inputs/{image_id}")).status_code == 200


async def test_keys_and_cached_results_do_not_bring_anything_back(office: Office) -> None:
    first = await submit(office.ann, key="k", seed=1)
    await wait_until_started(office.studio, first)
    office.studio.finish_job(first)
    await wait_until_ended(office.ann, first)
    purged = await purge(office)
    assert purged["idempotency_keys"] == 1 and purged["cached_results"] == 1
    second = await submit(office.ann, key="k", seed=1)
    assert second != first
    await wait_until_started(office.studio, second)


async def test_the_log_says_who_purged_whom_without_content(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    await make_pictures(office.studio, {"prompt": PROMPT}, client=office.ann)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        await office.boss.get("/v1/users/ann/export")
        await purge(office)
    logged = [vars(record) for record in caplog.records if vars(record).get("action", "").startswith("user_")]
    assert [(record["action"], record["user"], record["administrator"]) for record in logged] == [
        ("user_exported", "ann", "boss"),
        ("user_purged", "ann", "boss"),
    ]
    assert logged[1]["pictures"] == 1 and WORD not in str(logged)


async def test_a_database_that_cannot_be_rewritten_is_not_called_erased(office: Office) -> None:
    await make_pictures(office.studio, {"prompt": PROMPT}, client=office.ann)
    with closing(sqlite3.connect(office.studio.service.storage.path)) as backup_program:
        rows = backup_program.execute("SELECT * FROM sqlite_master")  # It reads as long as it has rows to come.
        assert rows.fetchone() is not None
        purged = await purge(office)
        rows.close()
    assert purged["pictures"] == 1 and not purged["is_erased"]


async def test_copies_of_the_database_are_named(office: Office) -> None:
    await make_pictures(office.studio, {}, client=office.ann)
    folder = office.studio.service.storage.path.parent
    for name in ("jobs.version-2-backup.sqlite", "jobs.damaged-1.sqlite"):
        (folder / name).write_bytes(b"")
    assert (await purge(office))["copies"] == ["jobs.damaged-1.sqlite", "jobs.version-2-backup.sqlite"]
