"""The REST API: requests, responses and ownership."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagegen.access.keys import KeyStore
from imagegen.schema.events import Failed, Progress
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio
from tests.unit.stored_jobs import change_rows, read_job
from tests.unit.wait import let_tasks_settle, wait_until_true

REQUEST_BODY = {"prompt": "a red circle", "seed": 7}


@pytest.fixture
async def in_process_studio(tmp_path: Path) -> AsyncIterator[InProcessStudio]:
    async with run_in_process_studio(tmp_path, queued_per_user=2, requests_per_minute=20) as behind:
        yield behind


def png(colour: str = "red", size: tuple[int, int] = (16, 16)) -> str:
    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


async def submit_jobs(in_process_studio: InProcessStudio, count: int = 1) -> None:
    await wait_until_true(lambda: len(in_process_studio.worker.submitted) == count)


async def test_an_input_picture_is_stored_once_and_named_by_its_id(in_process_studio: InProcessStudio) -> None:
    client = in_process_studio.client_without_token
    stored = await client.post("/v1/inputs", json={"image": png()})
    assert stored.status_code == 201
    image_id = stored.json()["id"]
    assert (await client.get(f"/v1/inputs/{image_id}")).headers["content-type"] == "image/png"
    await client.post("/v1/jobs", json=REQUEST_BODY | {"init_image": image_id})
    await submit_jobs(in_process_studio)
    assert in_process_studio.worker.submitted[0].request.init_image == image_id
    bodies = {"init_image": {"image": "AAAA"}, "field": {"image": png(), "field": "prompt"}, "image": {}}
    for field, body in bodies.items():
        refused = await client.post("/v1/inputs", json=body)
        assert (refused.status_code, refused.json()["error"]["field"]) == (400, field)


async def read_job_events(in_process_studio: InProcessStudio, job_id: str, **headers: str) -> list[dict[str, Any]]:
    answer = await in_process_studio.client_without_token.get(f"/v1/jobs/{job_id}/events", headers=headers)
    blocks = [dict(line.split(": ", 1) for line in block.split("\n")) for block in answer.text.strip().split("\n\n")]
    return [{**json.loads(block["data"]), "id": int(block["id"]), "event": block["event"]} for block in blocks]


async def test_a_picture_comes_with_its_file_and_its_receipt(in_process_studio: InProcessStudio) -> None:
    pending_response = asyncio.create_task(
        in_process_studio.client_without_token.post("/v1/txt2img", json=REQUEST_BODY)
    )
    await submit_jobs(in_process_studio)
    in_process_studio.finish_job(seed=7)
    answer = (await pending_response).json()
    with Image.open(BytesIO(base64.b64decode(answer["image_b64"]))) as image:
        assert json.loads(image.info["receipt"]) == answer["receipt"]
    facts = {name: answer[name] for name in ("seed", "latency_ms", "vram_peak_mb", "nsfw_detected", "others")}
    assert facts == {"seed": 7, "latency_ms": 1200, "vram_peak_mb": 512.5, "nsfw_detected": None, "others": []}


@pytest.mark.parametrize("head", ["", "data:image/png;base64,"])
async def test_a_picture_to_start_from_is_sent_in_base64(in_process_studio: InProcessStudio, head: str) -> None:
    pending_response = asyncio.create_task(
        in_process_studio.client_without_token.post("/v1/img2img", json=REQUEST_BODY | {"init_image": head + png()})
    )
    await submit_jobs(in_process_studio)
    request = in_process_studio.worker.submitted[0].request
    assert request.init_image is not None and in_process_studio.service.images.input_path(request.init_image).exists()
    in_process_studio.finish_job()
    assert (await pending_response).status_code == 200


async def test_one_of_ones_own_pictures_is_named_by_its_id(in_process_studio: InProcessStudio) -> None:
    job = (await in_process_studio.client_without_token.post("/v1/jobs", json=REQUEST_BODY)).json()["id"]
    await submit_jobs(in_process_studio)
    picture = in_process_studio.finish_job().pictures[0].id
    await let_tasks_settle()
    await in_process_studio.client_without_token.post("/v1/jobs", json=REQUEST_BODY | {"init_image": picture})
    await submit_jobs(in_process_studio, 2)
    assert in_process_studio.worker.submitted[1].request.init_image is not None
    assert (await in_process_studio.client_without_token.get(f"/v1/jobs/{job}")).json()["state"] == "done"


async def test_a_stored_result_that_cannot_be_read_is_an_error_of_its_job(in_process_studio: InProcessStudio) -> None:
    client, key = in_process_studio.client_without_token, {"Idempotency-Key": "a key"}
    job = (await client.post("/v1/jobs", json=REQUEST_BODY, headers=key)).json()
    await submit_jobs(in_process_studio)
    in_process_studio.finish_job()
    await wait_until_true(lambda: read_job(in_process_studio.service, job["id"]).state == "done")
    change_rows(
        in_process_studio.service,
        "UPDATE events SET event = json_set(event, '$.of_tomorrow', 1) WHERE event LIKE '%result%'",
    )
    shown = await client.get(f"/v1/jobs/{job['id']}")
    assert (shown.status_code, shown.json()["state"], shown.json()["result"]) == (200, "failed", None)
    assert shown.json()["error"]["code"] == "unreadable"
    last = (await read_job_events(in_process_studio, job["id"]))[-1]
    assert (last["event"], last["code"]) == ("error", "unreadable")
    refused = await client.post("/v1/txt2img", json=REQUEST_BODY, headers=key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "unreadable")


async def test_a_job_is_answered_at_once_and_can_be_looked_up(in_process_studio: InProcessStudio) -> None:
    answer = await in_process_studio.client_without_token.post("/v1/jobs", json=REQUEST_BODY)
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json()['id']}"
    await submit_jobs(in_process_studio)
    in_process_studio.worker.emit_event(
        in_process_studio.worker.current_job_id, Progress(step=1, steps=4, seconds_left=3.0)
    )
    await let_tasks_settle()
    job = (await in_process_studio.client_without_token.get(answer.headers["Location"])).json()
    assert (job["state"], job["progress"], job["step"], job["steps"], job["seconds_left"]) == ("running", 0.25, 1, 4, 3)
    in_process_studio.finish_job()
    await let_tasks_settle()
    result = (await in_process_studio.client_without_token.get(answer.headers["Location"])).json()["result"]
    assert result["image_b64"] is None
    assert (await in_process_studio.client_without_token.get(result["url"])).headers["Content-Type"] == "image/png"


async def test_a_waiting_job_has_its_queue_position(in_process_studio: InProcessStudio) -> None:
    jobs = [(await in_process_studio.client_without_token.post("/v1/jobs", json=REQUEST_BODY)).json() for _ in range(3)]
    assert [(job["state"], job["position"]) for job in jobs] == [("running", None), ("queued", 0), ("queued", 1)]


async def test_a_failed_job_has_its_error(in_process_studio: InProcessStudio) -> None:
    job = (await in_process_studio.client_without_token.post("/v1/jobs", json=REQUEST_BODY)).json()["id"]
    in_process_studio.worker.emit_event(job, Failed(code="out_of_memory", message="Too little memory."))
    await let_tasks_settle()
    assert (await in_process_studio.client_without_token.get(f"/v1/jobs/{job}")).json()["error"][
        "code"
    ] == "out_of_memory"
    pending_response = asyncio.create_task(
        in_process_studio.client_without_token.post("/v1/txt2img", json=REQUEST_BODY)
    )
    await submit_jobs(in_process_studio, 2)
    in_process_studio.worker.emit_event(
        in_process_studio.worker.current_job_id, Failed(code="out_of_memory", message="Too little memory.")
    )
    answer = await pending_response
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "out_of_memory")


async def test_events_are_sent_from_the_first_or_from_a_given_position(in_process_studio: InProcessStudio) -> None:
    job = (await in_process_studio.client_without_token.post("/v1/jobs", json=REQUEST_BODY)).json()["id"]
    in_process_studio.worker.emit_event(job, Progress(step=1, steps=2))
    in_process_studio.finish_job(job)
    all_events = await read_job_events(in_process_studio, job)
    assert [event["event"] for event in all_events] == ["queued", "started", "progress", "result"]
    assert all_events[2]["progress"] == 0.5 and all_events[3]["data"]["receipt"]["seed"] == 7
    later = await read_job_events(in_process_studio, job, **{"Last-Event-ID": str(all_events[1]["id"])})
    assert later == all_events[2:]


async def test_a_browser_that_has_all_events_does_not_connect_again(in_process_studio: InProcessStudio) -> None:
    job = (await in_process_studio.client_without_token.post("/v1/jobs", json=REQUEST_BODY)).json()["id"]
    in_process_studio.finish_job(job)
    last_event = (await read_job_events(in_process_studio, job))[-1]
    answer = await in_process_studio.client_without_token.get(
        f"/v1/jobs/{job}/events", headers={"Last-Event-ID": str(last_event["id"])}
    )
    assert (answer.status_code, answer.content) == (204, b"")


async def test_a_job_is_cancelled_and_cancelling_again_is_no_error(in_process_studio: InProcessStudio) -> None:
    job = (await in_process_studio.client_without_token.post("/v1/jobs", json=REQUEST_BODY)).json()["id"]
    for _ in range(2):
        assert (await in_process_studio.client_without_token.delete(f"/v1/jobs/{job}")).status_code == 200
        await let_tasks_settle()
    assert (await in_process_studio.client_without_token.get(f"/v1/jobs/{job}")).json()["state"] == "cancelled"


async def test_a_job_is_ended_early_with_its_picture(in_process_studio: InProcessStudio) -> None:
    client = in_process_studio.client_without_token
    job = (await client.post("/v1/jobs", json=REQUEST_BODY)).json()["id"]
    early = await client.post(f"/v1/jobs/{job}/finish")
    assert (early.status_code, early.json()["error"]["code"]) == (409, "nothing_to_keep")
    in_process_studio.worker.emit_event(job, Progress(step=3, steps=20))
    await let_tasks_settle()
    answer = await client.post(f"/v1/jobs/{job}/finish")
    assert (answer.status_code, answer.json()["state"]) == (200, "running")
    assert in_process_studio.worker.finished_early == [job]
    in_process_studio.finish_job(job, unfinished_at_step=4)
    await read_job_events(in_process_studio, job)
    again = await client.post(f"/v1/jobs/{job}/finish")
    assert (again.status_code, again.json()["state"]) == (200, "done")
    assert again.json()["result"]["receipt"]["unfinished_at_step"] == 4
    unknown = await client.post("/v1/jobs/nonsense/finish")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unknown_job")


async def test_a_call_whose_job_is_cancelled_returns_that_error(in_process_studio: InProcessStudio) -> None:
    pending_response = asyncio.create_task(
        in_process_studio.client_without_token.post("/v1/txt2img", json=REQUEST_BODY)
    )
    await submit_jobs(in_process_studio)
    await in_process_studio.client_without_token.delete(f"/v1/jobs/{in_process_studio.worker.current_job_id}")
    answer = await pending_response
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "cancelled")


async def test_the_same_key_is_the_same_job(in_process_studio: InProcessStudio) -> None:
    first, second = [
        (
            await in_process_studio.client_without_token.post(
                "/v1/jobs", json=REQUEST_BODY, headers={"Idempotency-Key": "k"}
            )
        )
        for _ in range(2)
    ]
    assert first.json()["id"] == second.json()["id"] and len(in_process_studio.worker.submitted) == 1
    other = await in_process_studio.client_without_token.post(
        "/v1/jobs", json=REQUEST_BODY | {"seed": 8}, headers={"Idempotency-Key": "k"}
    )
    assert (other.status_code, other.json()["error"]["code"]) == (409, "key_reused")


async def test_a_key_whose_job_failed_is_tried_once_more(in_process_studio: InProcessStudio) -> None:
    first = (
        await in_process_studio.client_without_token.post(
            "/v1/jobs", json=REQUEST_BODY, headers={"Idempotency-Key": "k"}
        )
    ).json()["id"]
    in_process_studio.worker.emit_event(first, Failed(code="worker_died", message="Please try once more."))
    await let_tasks_settle()
    second = (
        await in_process_studio.client_without_token.post(
            "/v1/jobs", json=REQUEST_BODY, headers={"Idempotency-Key": "k"}
        )
    ).json()["id"]
    assert first != second and len(in_process_studio.worker.submitted) == 2


async def test_the_same_key_at_the_same_time_is_one_job(in_process_studio: InProcessStudio) -> None:
    calls = [
        in_process_studio.client_without_token.post("/v1/jobs", json=REQUEST_BODY, headers={"Idempotency-Key": "k"})
        for _ in range(5)
    ]
    answers = await asyncio.gather(*calls)
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_a_picture_comes_in_three_formats_with_its_settings(in_process_studio: InProcessStudio) -> None:
    await in_process_studio.client_without_token.post("/v1/jobs", json=REQUEST_BODY)
    picture = in_process_studio.finish_job(prompt="größer", seed=7).pictures[0].id
    await let_tasks_settle()
    for kind in ("png", "jpeg", "webp"):
        answer = await in_process_studio.client_without_token.get(f"/v1/images/{picture}", params={"format": kind})
        with Image.open(BytesIO(answer.content)) as image:
            assert image.format == kind.upper() and answer.headers["Content-Type"] == f"image/{kind}"
            comment = image.getexif().get_ifd(0x8769).get(0x9286, b"")
            text = image.info.get("parameters") or comment.removeprefix(b"UNICODE\0").decode("utf-16-be")
            assert text.startswith("größer\nSteps: 20") and "Seed: 7" in text


async def test_a_rate_limited_client_gets_a_retry_time(in_process_studio: InProcessStudio) -> None:
    answers = [await in_process_studio.client_without_token.post("/v1/jobs", json=REQUEST_BODY) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    assert answers[3].json()["error"]["code"] == "too_many_jobs" and int(answers[3].headers["Retry-After"]) > 0
    answers = [await in_process_studio.client_without_token.post("/v1/jobs", json=REQUEST_BODY) for _ in range(20)]
    assert answers[-1].json()["error"]["code"] == "too_many_requests" and int(answers[-1].headers["Retry-After"]) > 0


async def test_pictures_to_start_from_are_counted_before_they_are_looked_into(
    in_process_studio: InProcessStudio,
) -> None:
    body = REQUEST_BODY | {"init_image": "AAAA"}
    codes = [
        (await in_process_studio.client_without_token.post("/v1/img2img", json=body)).json()["error"]["code"]
        for _ in range(21)
    ]
    assert codes == ["invalid_request"] * 20 + ["too_many_requests"]


async def test_another_users_resources_are_not_found(tmp_path: Path) -> None:
    keys = KeyStore(tmp_path / "data" / "keys.json")
    alice_key, bob_key = keys.add("alice"), keys.add("bob")
    async with (
        run_in_process_studio(tmp_path, access="keys") as in_process_studio,
        in_process_studio.make_client(alice_key) as alice,
        in_process_studio.make_client(bob_key) as bob,
    ):
        job = (await alice.post("/v1/jobs", json=REQUEST_BODY)).json()["id"]
        picture = in_process_studio.finish_job().pictures[0].id
        await let_tasks_settle()
        paths = [f"/v1/jobs/{job}", f"/v1/jobs/{job}/events", f"/v1/images/{picture}"]
        assert [(await alice.get(path)).status_code for path in paths] == [200, 200, 200]
        assert [(await bob.get(path)).status_code for path in paths] == [404, 404, 404]
        assert [(await in_process_studio.client_without_token.get(path)).status_code for path in paths] == [
            401,
            401,
            401,
        ]
        assert (await bob.delete(f"/v1/jobs/{job}")).status_code == 404
        stolen = await bob.post("/v1/jobs", json=REQUEST_BODY | {"init_image": picture})
        assert stolen.json()["error"]["field"] == "init_image"


async def test_what_there_is_to_generate_with_is_listed(in_process_studio: InProcessStudio) -> None:
    models = (await in_process_studio.client_without_token.get("/v1/models/list")).json()
    assert models[0]["model"]["id"] == "embedded" and models[0]["model"]["can"]["image_to_image"]
    assert [lora["id"] for lora in (await in_process_studio.client_without_token.get("/v1/loras/list")).json()] == [
        "fast",
        "neon",
    ]
    assert (await in_process_studio.client_without_token.get("/v1/embeddings/list")).json() == []


async def test_loading_a_lora_reports_its_progress(in_process_studio: InProcessStudio) -> None:
    assert (await in_process_studio.client_without_token.post("/v1/loras/load", json={"lora": "neon"})).json()[
        "id"
    ] == "neon"
    load_events = (
        await in_process_studio.client_without_token.post("/v1/loras/load", json={"lora": "neon", "stream": True})
    ).text
    assert "event: progress" in load_events and load_events.strip().split("event: ")[-1].startswith("result\n")
    refused = (
        await in_process_studio.client_without_token.post("/v1/loras/load", json={"lora": "nowhere", "stream": True})
    ).text
    assert '"code": "unknown_model"' in refused
