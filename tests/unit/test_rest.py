"""REST: what goes in, what comes out, and whose it is."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagegen.access.keys import Keys
from imagegen.schema import Failed, Progress
from tests.unit.doors import Behind, studio
from tests.unit.waiting import settled, until

ASKED = {"prompt": "a red circle", "seed": 7}


@pytest.fixture
async def behind(tmp_path: Path) -> AsyncIterator[Behind]:
    async with studio(tmp_path, queued_per_user=2, requests_per_minute=20) as behind:
        yield behind


def png(colour: str = "red", size: tuple[int, int] = (16, 16)) -> str:
    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


async def submitted(behind: Behind, count: int = 1) -> None:
    await until(lambda: len(behind.worker.submitted) == count)


async def events(behind: Behind, job_id: str, **headers: str) -> list[dict[str, Any]]:
    answer = await behind.web.get(f"/v1/jobs/{job_id}/events", headers=headers)
    blocks = [dict(line.split(": ", 1) for line in block.split("\n")) for block in answer.text.strip().split("\n\n")]
    return [{**json.loads(block["data"]), "id": int(block["id"]), "event": block["event"]} for block in blocks]


async def test_a_picture_comes_with_its_file_and_its_receipt(behind: Behind) -> None:
    asking = asyncio.create_task(behind.web.post("/v1/txt2img", json=ASKED))
    await submitted(behind)
    behind.finish(seed=7)
    answer = (await asking).json()
    with Image.open(BytesIO(base64.b64decode(answer["image_b64"]))) as image:
        assert json.loads(image.info["receipt"]) == answer["receipt"]
    facts = {name: answer[name] for name in ("seed", "latency_ms", "vram_peak_mb", "nsfw_detected", "others")}
    assert facts == {"seed": 7, "latency_ms": 1200, "vram_peak_mb": 512.5, "nsfw_detected": None, "others": []}


@pytest.mark.parametrize("head", ["", "data:image/png;base64,"])
async def test_a_picture_to_start_from_is_sent_in_base64(behind: Behind, head: str) -> None:
    asking = asyncio.create_task(behind.web.post("/v1/img2img", json=ASKED | {"init_image": head + png()}))
    await submitted(behind)
    request = behind.worker.submitted[0].request
    assert request.init_image is not None and behind.service.images.input_path(request.init_image).exists()
    behind.finish()
    assert (await asking).status_code == 200


async def test_one_of_ones_own_pictures_is_named_by_its_id(behind: Behind) -> None:
    job = (await behind.web.post("/v1/jobs", json=ASKED)).json()["id"]
    await submitted(behind)
    picture = behind.finish().pictures[0].id
    await settled()
    await behind.web.post("/v1/jobs", json=ASKED | {"init_image": picture})
    await submitted(behind, 2)
    assert behind.worker.submitted[1].request.init_image is not None
    assert (await behind.web.get(f"/v1/jobs/{job}")).json()["state"] == "done"


@pytest.mark.parametrize(
    ("path", "body", "code", "field"),
    [
        ("txt2img", {"prompt": ""}, "invalid_request", "prompt"),
        ("txt2img", {}, "invalid_request", "prompt"),
        ("txt2img", ASKED | {"steps": 0}, "invalid_request", "steps"),
        ("txt2img", ASKED | {"steps": True}, "invalid_request", "steps"),
        ("txt2img", ASKED | {"steps": "20"}, "invalid_request", "steps"),
        ("txt2img", ASKED | {"user": "me"}, "invalid_request", "user"),
        ("txt2img", ASKED | {"init_image": "x"}, "invalid_request", "init_image"),
        ("txt2img", ASKED | {"loras": [{"lora": "neon", "weight": 9}]}, "invalid_request", "loras[0].weight"),
        ("txt2img", ASKED | {"model": "nowhere"}, "unknown_model", "model"),
        ("txt2img", ASKED | {"model": "sd-1.5"}, "not_on_disk", "model"),
        ("txt2img", ["prompt"], "invalid_request", "body"),
        ("img2img", ASKED, "invalid_request", "init_image"),
        ("img2img", ASKED | {"init_image": "no base64"}, "invalid_request", "init_image"),
        ("img2img", ASKED | {"init_image": "AAAA"}, "invalid_request", "init_image"),
        ("img2img", ASKED | {"init_image": "0" * 32}, "invalid_request", "init_image"),
        ("img2img", ASKED | {"init_image": "0" * 64}, "invalid_request", "init_image"),
        ("jobs", ASKED | {"strength": 0.5}, "invalid_request", "strength"),
    ],
)
async def test_what_is_wrong_is_named(behind: Behind, path: str, body: Any, code: str, field: str) -> None:
    answer = await behind.web.post(f"/v1/{path}", json=body)
    error = answer.json()["error"]
    assert (error["code"], error["field"]) == (code, field)
    assert error["message"].startswith(f"{field}: ")
    assert answer.status_code in (400, 404, 409) and len(answer.content) < 1000


@pytest.mark.parametrize(
    "content", [
        b"{", b"", b'{"prompt": "a", "guidance_scale": NaN}', b'{"prompt": "a", "guidance_scale": 1e400}', b"\xff\xfe",
        b'{"prompt": "\\ud800"}', b'{"prompt": "\\u0000"}', b"[" * 100_000, b'{"prompt": "' + b"x" * 10**6 + b'"}',
    ],
)  # fmt: skip
async def test_a_body_that_is_none_is_refused_in_few_words(behind: Behind, content: bytes) -> None:
    answer = await behind.web.post("/v1/txt2img", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and len(answer.content) < 500
    assert answer.json()["error"]["code"] == "invalid_request"


async def test_a_job_is_answered_at_once_and_can_be_looked_up(behind: Behind) -> None:
    answer = await behind.web.post("/v1/jobs", json=ASKED)
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json()['id']}"
    await submitted(behind)
    behind.worker.tell(behind.worker.current, Progress(step=1, steps=4, seconds_left=3.0))
    await settled()
    job = (await behind.web.get(answer.headers["Location"])).json()
    assert (job["state"], job["progress"], job["step"], job["steps"], job["seconds_left"]) == ("running", 0.25, 1, 4, 3)
    behind.finish()
    await settled()
    result = (await behind.web.get(answer.headers["Location"])).json()["result"]
    assert result["image_b64"] is None
    assert (await behind.web.get(result["url"])).headers["Content-Type"] == "image/png"


async def test_a_job_that_waits_says_how_many_come_first(behind: Behind) -> None:
    jobs = [(await behind.web.post("/v1/jobs", json=ASKED)).json() for _ in range(3)]
    assert [(job["state"], job["position"]) for job in jobs] == [("running", None), ("queued", 0), ("queued", 1)]


async def test_a_job_that_fails_says_why(behind: Behind) -> None:
    job = (await behind.web.post("/v1/jobs", json=ASKED)).json()["id"]
    behind.worker.tell(job, Failed(code="out_of_memory", message="Too little memory."))
    await settled()
    assert (await behind.web.get(f"/v1/jobs/{job}")).json()["error"]["code"] == "out_of_memory"
    asking = asyncio.create_task(behind.web.post("/v1/txt2img", json=ASKED))
    await submitted(behind, 2)
    behind.worker.tell(behind.worker.current, Failed(code="out_of_memory", message="Too little memory."))
    answer = await asking
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "out_of_memory")


async def test_events_are_told_from_the_first_or_from_where_somebody_was(behind: Behind) -> None:
    job = (await behind.web.post("/v1/jobs", json=ASKED)).json()["id"]
    behind.worker.tell(job, Progress(step=1, steps=2))
    behind.finish(job)
    told = await events(behind, job)
    assert [event["event"] for event in told] == ["queued", "started", "progress", "result"]
    assert told[2]["progress"] == 0.5 and told[3]["data"]["receipt"]["seed"] == 7
    later = await events(behind, job, **{"Last-Event-ID": str(told[1]["id"])})
    assert later == told[2:]


async def test_a_job_is_cancelled_and_cancelling_again_is_no_error(behind: Behind) -> None:
    job = (await behind.web.post("/v1/jobs", json=ASKED)).json()["id"]
    for _ in range(2):
        assert (await behind.web.delete(f"/v1/jobs/{job}")).status_code == 200
        await settled()
    assert (await behind.web.get(f"/v1/jobs/{job}")).json()["state"] == "cancelled"


async def test_a_call_whose_job_is_cancelled_says_so(behind: Behind) -> None:
    asking = asyncio.create_task(behind.web.post("/v1/txt2img", json=ASKED))
    await submitted(behind)
    await behind.web.delete(f"/v1/jobs/{behind.worker.current}")
    answer = await asking
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "cancelled")


async def test_the_same_key_is_the_same_job(behind: Behind) -> None:
    first, second = [
        (await behind.web.post("/v1/jobs", json=ASKED, headers={"Idempotency-Key": "k"})) for _ in range(2)
    ]
    assert first.json()["id"] == second.json()["id"] and len(behind.worker.submitted) == 1
    other = await behind.web.post("/v1/jobs", json=ASKED | {"seed": 8}, headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "key_reused")


async def test_a_key_whose_job_failed_is_tried_once_more(behind: Behind) -> None:
    first = (await behind.web.post("/v1/jobs", json=ASKED, headers={"Idempotency-Key": "k"})).json()["id"]
    behind.worker.tell(first, Failed(code="worker_died", message="Please try once more."))
    await settled()
    second = (await behind.web.post("/v1/jobs", json=ASKED, headers={"Idempotency-Key": "k"})).json()["id"]
    assert first != second and len(behind.worker.submitted) == 2


async def test_the_same_key_at_the_same_time_is_one_job(behind: Behind) -> None:
    calls = [behind.web.post("/v1/jobs", json=ASKED, headers={"Idempotency-Key": "k"}) for _ in range(5)]
    answers = await asyncio.gather(*calls)
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_a_picture_comes_in_three_formats_with_its_settings(behind: Behind) -> None:
    await behind.web.post("/v1/jobs", json=ASKED)
    picture = behind.finish(prompt="größer", seed=7).pictures[0].id
    await settled()
    for kind in ("png", "jpeg", "webp"):
        answer = await behind.web.get(f"/v1/images/{picture}", params={"format": kind})
        with Image.open(BytesIO(answer.content)) as image:
            assert image.format == kind.upper() and answer.headers["Content-Type"] == f"image/{kind}"
            comment = image.getexif().get_ifd(0x8769).get(0x9286, b"")
            text = image.info.get("parameters") or comment.removeprefix(b"UNICODE\0").decode("utf-16-be")
            assert text.startswith("größer\nSteps: 20") and "Seed: 7" in text


@pytest.mark.parametrize("query", ["format=gif", "quality=0", "quality=101", "quality=fine"])
async def test_a_format_that_there_is_not_is_refused(behind: Behind, query: str) -> None:
    answer = await behind.web.get(f"/v1/images/{'0' * 32}?{query}")
    assert answer.json()["error"]["field"] == query.partition("=")[0]


async def test_who_asks_too_much_is_told_when_to_come_back(behind: Behind) -> None:
    answers = [await behind.web.post("/v1/jobs", json=ASKED) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    assert answers[3].json()["error"]["code"] == "too_many_jobs" and int(answers[3].headers["Retry-After"]) > 0
    answers = [await behind.web.post("/v1/jobs", json=ASKED) for _ in range(20)]
    assert answers[-1].json()["error"]["code"] == "too_many_requests" and int(answers[-1].headers["Retry-After"]) > 0


async def test_pictures_to_start_from_are_counted_before_they_are_looked_into(behind: Behind) -> None:
    body = ASKED | {"init_image": "AAAA"}
    codes = [(await behind.web.post("/v1/img2img", json=body)).json()["error"]["code"] for _ in range(21)]
    assert codes == ["invalid_request"] * 20 + ["too_many_requests"]


async def test_what_is_somebody_elses_is_not_there(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "data" / "keys.json")
    alice_key, bob_key = keys.add("alice"), keys.add("bob")
    async with (
        studio(tmp_path, access="keys") as behind,
        behind.client(alice_key) as alice,
        behind.client(bob_key) as bob,
    ):
        job = (await alice.post("/v1/jobs", json=ASKED)).json()["id"]
        picture = behind.finish().pictures[0].id
        await settled()
        paths = [f"/v1/jobs/{job}", f"/v1/jobs/{job}/events", f"/v1/images/{picture}"]
        assert [(await alice.get(path)).status_code for path in paths] == [200, 200, 200]
        assert [(await bob.get(path)).status_code for path in paths] == [404, 404, 404]
        assert [(await behind.web.get(path)).status_code for path in paths] == [401, 401, 401]
        assert (await bob.delete(f"/v1/jobs/{job}")).status_code == 404
        stolen = await bob.post("/v1/jobs", json=ASKED | {"init_image": picture})
        assert stolen.json()["error"]["field"] == "init_image"


async def test_what_there_is_to_generate_with_is_listed(behind: Behind) -> None:
    models = (await behind.web.get("/v1/models/list")).json()
    assert models[0]["model"]["id"] == "embedded" and models[0]["model"]["can"]["image_to_image"]
    assert [lora["id"] for lora in (await behind.web.get("/v1/loras/list")).json()] == ["fast", "neon"]
    assert (await behind.web.get("/v1/embeddings/list")).json() == []


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("models/load", {"model": ""}, "invalid_request"),
        ("models/load", {"model": "nowhere"}, "unknown_model"),
        ("models/unload", {"model": "embedded", "delete": "yes please"}, "invalid_request"),
        ("models/unload", {"model": "embedded", "delete": True}, "invalid_request"),
        ("loras/load", {"lora": "nowhere"}, "unknown_model"),
        ("loras/load", {"model": "neon"}, "invalid_request"),
    ],
)
async def test_what_cannot_be_loaded_or_unloaded_is_refused(behind: Behind, path: str, body: Any, code: str) -> None:
    assert (await behind.web.post(f"/v1/{path}", json=body)).json()["error"]["code"] == code


async def test_a_lora_is_loaded_with_its_steps_told(behind: Behind) -> None:
    assert (await behind.web.post("/v1/loras/load", json={"lora": "neon"})).json()["id"] == "neon"
    told = (await behind.web.post("/v1/loras/load", json={"lora": "neon", "stream": True})).text
    assert "event: progress" in told and told.strip().split("event: ")[-1].startswith("result\n")
    refused = (await behind.web.post("/v1/loras/load", json={"lora": "nowhere", "stream": True})).text
    assert '"code": "unknown_model"' in refused
