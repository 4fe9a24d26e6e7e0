"""The disk is freed of what was deleted and of what nothing needs, and of nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from imagegen.jobs.cleaner import (
    COMPILED_DAYS,
    JOB_DAYS,
    PROGRESS_DAYS,
    SECONDS_PER_DAY,
    UNDO_SECONDS,
    UPLOAD_DAYS,
    StorageLimits,
)
from imagegen.schema.events import Progress
from imagegen.schema.pictures import LibraryUse
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio
from tests.unit.stored_jobs import open_jobs
from tests.unit.test_picture_library import make_pictures, wait_until_ended, wait_until_started

NO_LIMITS = StorageLimits(None, None, None)


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[InProcessStudio]:
    """Its own cleaner is stopped: the tests say when it cleans."""
    async with run_in_process_studio(tmp_path, requests_per_minute=1000) as studio:
        assert studio.service._cleaning is not None
        studio.service._cleaning.cancel()
        yield studio


def list_files(studio: InProcessStudio) -> set[str]:
    images = studio.service.images
    folders = (images.pictures_dir, images.thumbnails_dir, images.inputs_dir)
    return {file.stem for folder in folders for file in folder.iterdir()}


async def list_ids(studio: InProcessStudio) -> list[str]:
    pictures = (await studio.client_without_token.get("/v1/pictures")).json()["pictures"]
    return [picture["id"] for picture in pictures]


async def test_a_deleted_picture_frees_the_disk_after_the_time_to_undo(studio: InProcessStudio) -> None:
    client, cleaner = studio.client_without_token, studio.service.cleaner
    deleted, kept = await make_pictures(studio, {}, {})
    await client.get(f"/v1/pictures/{deleted}/thumbnail")
    await client.patch(f"/v1/pictures/{deleted}", json={"albums": ["Cats"]})
    await client.delete(f"/v1/pictures/{deleted}")
    await cleaner.clean_pictures(time.time() + UNDO_SECONDS / 2)
    assert deleted in list_files(studio)
    await cleaner.clean_pictures(time.time() + UNDO_SECONDS + 1)
    assert list_files(studio) == {kept}
    answer = await client.patch(f"/v1/pictures/{deleted}", json={"deleted": False})
    assert answer.status_code == 404
    assert (await client.get("/v1/pictures?search=circle&album=Cats")).json()["pictures"] == []


async def test_pictures_that_are_too_old_are_deleted_but_for_favourites(studio: InProcessStudio) -> None:
    ids = await make_pictures(studio, {}, {})
    await studio.client_without_token.patch(f"/v1/pictures/{ids[0]}", json={"favourite": True})
    studio.service.cleaner.limits = StorageLimits(keep_days=2, user_bytes=None, all_bytes=None)
    await studio.service.cleaner.clean_pictures(time.time() + SECONDS_PER_DAY)
    assert len(await list_ids(studio)) == 2
    await studio.service.cleaner.clean_pictures(time.time() + 3 * SECONDS_PER_DAY)
    assert await list_ids(studio) == [ids[0]] and list_files(studio) == {ids[0]}


@pytest.mark.parametrize("limit", ["user_bytes", "all_bytes"])
async def test_beyond_the_limit_the_oldest_are_deleted_but_for_favourites(studio: InProcessStudio, limit: str) -> None:
    ids = await make_pictures(studio, {}, {}, {}, {})
    await studio.client_without_token.patch(f"/v1/pictures/{ids[0]}", json={"favourite": True})
    sizes = {each: studio.service.images.picture_path(each).stat().st_size for each in ids}
    room = {"user_bytes": None, "all_bytes": None} | {limit: sizes[ids[0]] + sizes[ids[3]] + 1}
    studio.service.cleaner.limits = StorageLimits(keep_days=None, **room)
    await studio.service.cleaner.clean_pictures(time.time())
    assert await list_ids(studio) == [ids[3], ids[0]] and list_files(studio) == {ids[0], ids[3]}
    assert await studio.service.pictures.get_use() == LibraryUse(pictures=2, size_bytes=sizes[ids[0]] + sizes[ids[3]])


async def test_the_limit_of_a_user_is_for_each_user(studio: InProcessStudio) -> None:
    await make_pictures(studio, {})
    (file,) = studio.service.images.pictures_dir.iterdir()
    with open_jobs(studio.service) as jobs:
        jobs.database.execute("UPDATE pictures SET owner = 'someone else'")
    (own,) = await make_pictures(studio, {})
    studio.service.cleaner.limits = StorageLimits(None, user_bytes=file.stat().st_size * 1.5, all_bytes=None)
    await studio.service.cleaner.clean_pictures(time.time())
    assert list_files(studio) == {own, file.stem}


async def test_uploads_stay_while_a_picture_or_a_waiting_job_needs_them(studio: InProcessStudio) -> None:
    client, images = studio.client_without_token, studio.service.images
    uploads = {}
    for name, shade in (("used", 10), ("waiting", 20), ("unused", 30), ("new", 40)):
        file = studio.service.settings.data_dir / "upload.png"
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(file)
        uploads[name] = images.add_input(file, "init_image")
    old = time.time() - (UPLOAD_DAYS + 1) * SECONDS_PER_DAY
    for name in ("used", "waiting", "unused"):
        os.utime(images.input_path(uploads[name]), (old, old))
    await make_pictures(studio, {"init_image": uploads["used"], "strength": 0.5})
    with open_jobs(studio.service) as jobs:
        jobs.database.execute("INSERT INTO inputs SELECT ?, owner FROM jobs LIMIT 1", (uploads["waiting"],))
    await client.post("/v1/jobs", json={"prompt": "runs"})
    waits = await client.post("/v1/jobs", json={"prompt": "waits", "init_image": uploads["waiting"]})
    assert waits.status_code == 202
    os.utime(images.input_path(uploads["waiting"]), (old, old))
    await studio.service.cleaner.clean_rest(time.time())
    left = {file.stem for file in images.inputs_dir.iterdir()}
    assert left == {uploads[name] for name in ("used", "waiting", "new")}


async def test_a_picture_that_is_uploaded_again_counts_as_new(studio: InProcessStudio) -> None:
    images, file = studio.service.images, studio.service.settings.data_dir / "upload.png"
    Image.new("RGB", (8, 8)).save(file)
    image_id = images.add_input(file, "init_image")
    os.utime(images.input_path(image_id), (1, 1))
    assert images.add_input(file, "init_image") == image_id
    await studio.service.cleaner.clean_rest(time.time())
    assert images.input_path(image_id).exists()


async def test_jobs_lose_their_progress_and_those_without_pictures_go(studio: InProcessStudio) -> None:
    client, now = studio.client_without_token, time.time()
    (deleted,) = await make_pictures(studio, {})
    job_id = (await client.post("/v1/jobs", json={"prompt": "a"}, headers={"Idempotency-Key": "k"})).json()["id"]
    await wait_until_started(studio, job_id)
    for step in (1, 2):
        studio.worker.emit_event(job_id, Progress(step=step, steps=2))
    studio.finish_job(job_id)
    await wait_until_ended(client, job_id)
    gone = (await client.get(f"/v1/pictures/{deleted}")).json()["job_id"]
    await client.delete(f"/v1/pictures/{deleted}")
    await studio.service.cleaner.clean_pictures(now + 2 * UNDO_SECONDS)

    async def list_events() -> list[str]:
        text = (await client.get(f"/v1/jobs/{job_id}/events")).text
        return [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]

    assert (await list_events()).count("progress") == 2
    await studio.service.cleaner.clean_rest(now + (PROGRESS_DAYS + 1) * SECONDS_PER_DAY)
    assert "progress" not in await list_events() and (await list_events())[-1] == "result"
    assert (await client.get(f"/v1/jobs/{gone}")).status_code == 200
    await studio.service.cleaner.clean_rest(now + (JOB_DAYS + 1) * SECONDS_PER_DAY)
    assert (await client.get(f"/v1/jobs/{gone}")).status_code == 404
    assert (await client.get(f"/v1/jobs/{job_id}")).json()["state"] == "done"


async def test_compiled_networks_go_when_nobody_used_them(studio: InProcessStudio) -> None:
    folder = studio.service.settings.data_dir / "compiled"
    folder.mkdir()
    for name in ("old.pt2", "old.safetensors", "new.pt2", "old.txt"):
        (folder / name).write_bytes(b"code")
        if name.startswith("old"):
            os.utime(folder / name, (1, 1))
    await studio.service.cleaner.clean_rest(2 + COMPILED_DAYS * SECONDS_PER_DAY)
    assert sorted(file.name for file in folder.iterdir()) == ["new.pt2", "old.txt"]
