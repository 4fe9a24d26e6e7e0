"""The library of pictures over REST: searched, marked, deleted and brought back, and only by its owner."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import gradio as gr
import httpx
import pytest
from PIL import Image

from imagegen.access.keys import KeyStore
from imagegen.schema.events import Result
from imagegen.schema.pictures import PictureQuery
from imagegen.schema.receipt import UsedLora
from tests.doubles import make_receipt
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio
from tests.unit.stored_jobs import change_rows
from tests.unit.wait import wait_until_true
from ui.library_endpoints import add_library_endpoints

LORA = UsedLora(lora="neon", weight=0.5, sha256="5" * 64)


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[InProcessStudio]:
    async with run_in_process_studio(tmp_path, requests_per_minute=1000, file_name_pattern="{prompt}-{seed}") as studio:
        yield studio


async def make_pictures(studio: InProcessStudio, *receipts: dict[str, Any], client: Any = None) -> list[str]:
    """Returns the ids of pictures with these receipts, in this order, each made by a job of its own."""
    ids = []
    for receipt in receipts:
        client = client or studio.client_without_token
        job_id = (await client.post("/v1/jobs", json={"prompt": receipt.get("prompt", "a red circle")})).json()["id"]
        await wait_until_started(studio, job_id)
        ids.append(studio.finish_job(job_id, **receipt).pictures[0].id)
        await wait_until_ended(client, job_id)
    return ids


async def wait_until_started(studio: InProcessStudio, job_id: str) -> None:
    await wait_until_true(lambda: job_id in [order.job_id for order in studio.worker.submitted])


async def wait_until_ended(client: httpx.AsyncClient, job_id: str) -> None:
    while (await client.get(f"/v1/jobs/{job_id}")).json()["state"] != "done":
        pass


async def search(studio: InProcessStudio, **query: str) -> list[str]:
    answer = await studio.client_without_token.get("/v1/pictures", params=query)
    assert answer.status_code == 200, answer.text
    return [picture["id"] for picture in answer.json()["pictures"]]


async def test_pictures_are_listed_newest_first_page_by_page(studio: InProcessStudio) -> None:
    ids = await make_pictures(studio, *({"seed": number} for number in range(5)))
    seen: list[str] = []
    page: dict[str, Any] = {"next": None}
    while True:
        query = {"limit": 2} | ({"after": page["next"]} if page["next"] else {})
        page = (await studio.client_without_token.get("/v1/pictures", params=query)).json()
        seen += [picture["id"] for picture in page["pictures"]]
        if page["next"] is None:
            break
    assert seen == ids[::-1]


async def test_a_picture_has_its_receipt_and_addresses_of_its_files(studio: InProcessStudio) -> None:
    (picture_id,) = await make_pictures(studio, {"seed": 9})
    listed = (await studio.client_without_token.get("/v1/pictures")).json()["pictures"][0]
    assert listed["receipt"]["seed"] == 9 and listed["favourite"] is False and listed["albums"] == []
    assert (await studio.client_without_token.get(f"/v1/pictures/{picture_id}")).json() == listed
    assert (await studio.client_without_token.get(f"/v1/jobs/{listed['job_id']}")).json()["state"] == "done"
    full = await studio.client_without_token.get(listed["url"])
    assert json.loads(Image.open(BytesIO(full.content)).info["receipt"]) == listed["receipt"]
    small = await studio.client_without_token.get(listed["thumbnail"])
    with Image.open(BytesIO(small.content)) as image:
        assert (image.format, image.size) == ("WEBP", (16, 16))


async def test_a_thumbnail_has_at_most_320_pixels(studio: InProcessStudio) -> None:
    (picture_id,) = await make_pictures(studio, {})
    Image.new("RGB", (1000, 500), "red").save(studio.service.images.picture_path(picture_id))
    small = await studio.client_without_token.get(f"/v1/pictures/{picture_id}/thumbnail")
    with Image.open(BytesIO(small.content)) as image:
        assert image.size == (320, 160)


FILTERS: list[tuple[dict[str, str], str]] = [
    ({"search": "circle"}, "0"), ({"search": "CIRC"}, "0"), ({"search": "red circ"}, "0"), ({"search": "ircle"}, ""),
    ({"search": "cafe"}, "1"), ({"search": "Café, bleu"}, "1"), ({"search": "bleu green"}, ""),
    ({"search": "猫"}, "2"), ({"search": "白い"}, "2"), ({"search": "い白"}, ""), ({"search": "กา"}, "3"),
    ({"search": '" OR *'}, ""), ({"search": "!!!"}, ""), ({"search": "  "}, "3210"), ({"search": "NOT"}, ""),
    ({"model": "mine"}, "1"), ({"model": "embedded"}, "320"), ({"lora": "neon"}, "2"), ({"lora": "ne"}, ""),
    ({"tool": "img2img"}, "3"), ({"tool": "txt2img"}, "210"), ({"size": "64x32"}, "0"), ({"size": "32x64"}, ""),
    ({"favourite": "false", "model": "mine"}, "1"), ({"favourite": "true"}, ""), ({"album": "Cats"}, ""),
    ({"since": "1"}, "3210"), ({"until": "1"}, ""), ({"since": "2020-01-01"}, "3210"),
    ({"until": "2020-01-01T10:00:00+02:00"}, ""), ({"search": "a", "limit": "1"}, "1"),
]  # fmt: skip


async def test_all_filters_find_what_they_say(studio: InProcessStudio) -> None:
    ids = await make_pictures(
        studio,
        {"prompt": "a red circle", "width": 64, "height": 32},
        {"prompt": "a café in bleu", "model_id": "mine"},
        {"prompt": "白い猫", "loras": (LORA,)},
        {"prompt": "กา", "init_image": "0" * 64, "strength": 0.5},
    )
    for query, found in FILTERS:
        assert await search(studio, **query) == [ids[int(number)] for number in found], query


async def test_a_wrong_query_is_refused_by_the_name_of_its_field(studio: InProcessStudio) -> None:
    for query in (
        "limit=0", "limit=201", "tool=paint", "size=big", "size=0x8", "since=yesterday", "until=x", "favourite=perhaps",
        "after=1", "album=%20", "album=%00", "colour=red", f"search={'a' * 1001}",
    ):  # fmt: skip
        answer = await studio.client_without_token.get(f"/v1/pictures?{query}")
        assert (answer.status_code, answer.json()["error"]["field"]) == (400, query.partition("=")[0])


async def test_favourites_and_albums(studio: InProcessStudio) -> None:
    first, second = await make_pictures(studio, {}, {})
    client = studio.client_without_token
    changed = await client.patch(f"/v1/pictures/{first}", json={"favourite": True, "albums": ["Cats", " Dogs "]})
    assert changed.json()["favourite"] is True and changed.json()["albums"] == ["Cats", "Dogs"]
    await client.patch(f"/v1/pictures/{second}", json={"albums": ["Cats"]})
    assert await search(studio, favourite="true") == [first]
    assert await search(studio, album="Cats") == [second, first]
    albums = (await client.get("/v1/albums")).json()["albums"]
    assert albums == [{"name": "Cats", "count": 2}, {"name": "Dogs", "count": 1}]
    await client.patch(f"/v1/pictures/{first}", json={"favourite": False, "albums": []})
    assert (await client.get("/v1/albums")).json()["albums"] == [{"name": "Cats", "count": 1}]
    assert await search(studio, favourite="true") == []


async def test_a_wrong_change_is_refused_by_the_name_of_its_field(studio: InProcessStudio) -> None:
    (picture,) = await make_pictures(studio, {})
    changes: list[tuple[dict[str, Any], str]] = [
        ({"favourite": "yes"}, "favourite"), ({"deleted": True}, "deleted"), ({"albums": [""]}, "albums[0]"),
        ({"albums": ["x" * 101]}, "albums[0]"), ({"albums": ["x"] * 21}, "albums"), ({"colour": "red"}, "colour"),
    ]  # fmt: skip
    for body, field in changes:
        answer = await studio.client_without_token.patch(f"/v1/pictures/{picture}", json=body)
        assert (answer.status_code, answer.json()["error"]["field"]) == (400, field)


async def test_a_deleted_picture_is_gone_everywhere_and_comes_back(studio: InProcessStudio) -> None:
    deleted, kept = await make_pictures(studio, {"prompt": "a cat"}, {"prompt": "a dog"})
    client = studio.client_without_token
    await client.patch(f"/v1/pictures/{deleted}", json={"albums": ["Pets"]})
    assert (await client.delete(f"/v1/pictures/{deleted}")).json() == {"id": deleted, "deleted": True}
    assert await search(studio) == [kept] and await search(studio, search="cat") == []
    assert (await client.get("/v1/albums")).json() == {"albums": []}
    for path in (f"pictures/{deleted}", f"pictures/{deleted}/thumbnail", f"images/{deleted}"):
        assert (await client.get(f"/v1/{path}")).status_code == 404
    assert (await client.delete(f"/v1/pictures/{deleted}")).status_code == 404
    start = await client.post("/v1/jobs", json={"prompt": "a", "init_image": deleted})
    assert start.json()["error"]["field"] == "init_image"
    assert (await client.patch(f"/v1/pictures/{deleted}", json={"deleted": False})).json()["albums"] == ["Pets"]
    assert await search(studio) == [kept, deleted]


async def test_pictures_come_as_a_zip_archive(studio: InProcessStudio) -> None:
    ids = await make_pictures(studio, {"prompt": "A cat!", "seed": 1}, {"prompt": "a cat", "seed": 1}, {"prompt": "猫"})
    answer = await studio.client_without_token.post("/v1/pictures/zip", json={"ids": ids})
    assert answer.headers["content-type"] == "application/zip"
    with ZipFile(BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a-cat-1.png", "a-cat-1-2.png", "猫-7.png"]
        with Image.open(BytesIO(archive.read("猫-7.png"))) as image:
            assert json.loads(image.info["receipt"])["prompt"] == "猫"
    webp = await studio.client_without_token.post("/v1/pictures/zip", json={"ids": ids[:1], "format": "webp"})
    with ZipFile(BytesIO(webp.content)) as archive:
        assert archive.namelist() == ["a-cat-1.webp"]


async def test_an_archive_of_what_is_no_list_of_ids_is_refused(studio: InProcessStudio) -> None:
    for ids in ([], ["x"], ["0" * 32] * 1001, "0" * 32, None):
        answer = await studio.client_without_token.post("/v1/pictures/zip", json={"ids": ids})
        assert answer.status_code == 400 and answer.json()["error"]["field"].startswith("ids")


async def test_a_download_has_the_name_of_its_prompt(studio: InProcessStudio) -> None:
    (picture,) = await make_pictures(studio, {"prompt": "Ein Kreis, größer", "seed": 3})
    answer = await studio.client_without_token.get(f"/v1/images/{picture}?format=jpeg&download=true")
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''ein-kreis-gr%C3%B6%C3%9Fer-3.jpeg"


async def test_a_result_whose_picture_was_purged_is_an_error_and_no_fault(studio: InProcessStudio) -> None:
    client = studio.client_without_token
    body, headers = {"prompt": "a"}, {"Idempotency-Key": "k"}
    job_id = (await client.post("/v1/jobs", json=body, headers=headers)).json()["id"]
    await wait_until_true(lambda: len(studio.worker.submitted) == 1)
    (picture,) = studio.finish_job(job_id).pictures
    await wait_until_ended(client, job_id)
    studio.service.images.delete_picture(picture.id)
    answer = await client.post("/v1/txt2img", json=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_picture")


async def test_jobs_are_listed_newest_first_with_what_they_are(studio: InProcessStudio) -> None:
    client = studio.client_without_token
    await make_pictures(studio, {"prompt": "done"})
    for prompt in ("running", "queued"):
        await client.post("/v1/jobs", json={"prompt": prompt})
    await wait_until_true(lambda: len(studio.worker.submitted) == 2)
    jobs = (await client.get("/v1/jobs")).json()["jobs"]
    assert [(job["prompt"], job["state"]) for job in jobs] == [
        ("queued", "queued"), ("running", "running"), ("done", "done")
    ]  # fmt: skip
    assert jobs[0]["position"] == 0 and jobs[2]["result"]["seed"] == 7
    page = (await client.get("/v1/jobs?limit=2")).json()
    assert [job["id"] for job in page["jobs"]] == [job["id"] for job in jobs[:2]]
    page = (await client.get(f"/v1/jobs?limit=2&after={page['next']}")).json()
    assert [job["id"] for job in page["jobs"]] == [jobs[2]["id"]] and page["next"] is None
    assert (await client.get("/v1/jobs?after=none")).json()["error"]["code"] == "unknown_job"


async def test_each_user_sees_their_own_pictures_only(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "data" / "keys.json")
    (tmp_path / "data").mkdir()
    tokens = {name: keys.add(name) for name in ("ann", "bob")}
    async with run_in_process_studio(tmp_path, access="keys") as studio:
        ann, bob = (studio.make_client(tokens[name]) for name in ("ann", "bob"))
        (picture,) = await make_pictures(studio, {}, client=ann)
        assert len((await ann.get("/v1/pictures")).json()["pictures"]) == 1
        assert (await bob.get("/v1/pictures")).json() == {"pictures": [], "next": None}
        assert (await bob.get("/v1/jobs")).json() == {"jobs": [], "next": None}
        for method, path, body in foreign_requests(picture):
            assert (await bob.request(method, path, json=body)).status_code == 404
        assert (await bob.get(f"/v1/pictures?after={picture}")).json()["error"]["code"] == "unknown_picture"
        use = (await ann.get("/v1/status")).json()
        assert use["library"]["pictures"] == 1 and use["all_libraries"]["pictures"] == 1
        assert (await bob.get("/v1/status")).json()["library"] == {"pictures": 0, "size_bytes": 0}
        assert use["library"]["size_bytes"] == studio.service.images.picture_path(picture).stat().st_size
        assert (await studio.client_without_token.get("/v1/pictures")).status_code == 401
        for client in (ann, bob):
            await client.aclose()


async def test_the_use_of_the_disk_has_its_bounds(tmp_path: Path) -> None:
    async with run_in_process_studio(tmp_path, keep_days=30, library_gb_per_user=0.5) as studio:
        old, _, deleted = await make_pictures(studio, {}, {}, {})
        client = studio.client_without_token
        await client.delete(f"/v1/pictures/{deleted}")
        usage = (await client.get("/v1/pictures/usage")).json()
        size = (await client.get("/v1/status")).json()["library"]["size_bytes"]
        bounds = {"limit_bytes": 500_000_000, "keep_days": 30}
        assert usage == {"pictures": 2, "size_bytes": size, "expiring": 0, **bounds}
        change_rows(studio.service, "UPDATE pictures SET created = created - 24 * 86400 WHERE id = ?", [old])
        assert (await client.get("/v1/pictures/usage")).json()["expiring"] == 1
        await client.patch(f"/v1/pictures/{old}", json={"favourite": True})
        assert (await client.get("/v1/pictures/usage")).json()["expiring"] == 0


async def test_a_library_without_bounds_says_so(studio: InProcessStudio) -> None:
    usage = (await studio.client_without_token.get("/v1/pictures/usage")).json()
    assert usage == {"pictures": 0, "size_bytes": 0, "limit_bytes": None, "keep_days": None, "expiring": 0}


def foreign_requests(picture: str) -> Sequence[tuple[str, str, Any]]:
    return (
        ("GET", f"/v1/pictures/{picture}", None),
        ("GET", f"/v1/pictures/{picture}/thumbnail", None),
        ("PATCH", f"/v1/pictures/{picture}", {"favourite": True}),
        ("DELETE", f"/v1/pictures/{picture}", None),
        ("POST", "/v1/pictures/zip", {"ids": [picture]}),
    )


async def test_a_batch_stays_together(studio: InProcessStudio) -> None:
    job_id = (await studio.client_without_token.post("/v1/jobs", json={"prompt": "a", "batch_size": 3})).json()["id"]
    await wait_until_true(lambda: len(studio.worker.submitted) == 1)
    images = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    pictures = tuple(studio.service.images.write_picture(image, make_receipt()) for image in images)
    studio.worker.emit_event(job_id, Result(pictures=pictures, latency_ms=1))
    await wait_until_ended(studio.client_without_token, job_id)
    listed = (await studio.client_without_token.get("/v1/pictures")).json()["pictures"]
    assert [picture["id"] for picture in listed] == [picture.id for picture in pictures]
    assert {picture["job_id"] for picture in listed} == {job_id}


async def test_gradios_endpoint_has_the_fields_of_a_query(tmp_path: Path) -> None:
    async with run_in_process_studio(tmp_path) as studio:
        with gr.Blocks() as demo:
            add_library_endpoints(studio.service, demo)
        (function,) = demo.fns.values()
        assert function.api_name == "list_pictures"
        assert [control.label for control in function.inputs] == list(PictureQuery.model_fields)
