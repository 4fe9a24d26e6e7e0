"""MCP: the results of tools, what cancels a call, and progress."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.types import Message

from imagegen.access.keys import KeyStore, get_keys_path
from imagegen.schema.events import Failed, Loading, Progress
from imagegen.settings import Settings
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio
from tests.unit.mcp_client import ENDPOINT, HEADERS, PROMPT, McpClient
from tests.unit.wait import let_tasks_settle, wait_until_true


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[InProcessStudio]:
    async with run_in_process_studio(tmp_path, requests_per_minute=40) as studio:
        yield studio


def encode_png(colour: str = "red") -> str:
    buffer = BytesIO()
    Image.new("RGB", (16, 16), colour).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


async def make_picture(studio: InProcessStudio) -> str:
    """Returns the id of a picture of the user without sign-in."""
    job = (await studio.client_without_token.post("/v1/jobs", json=PROMPT)).json()["id"]
    picture_id = studio.finish_job().pictures[0].id
    await McpClient(studio).wait_for_state(job, "done")
    return picture_id


async def test_a_picture_comes_with_its_address_and_its_receipt(studio: InProcessStudio) -> None:
    client = McpClient(studio)
    task = await client.start_call(seed=7, steps=None)
    picture = studio.finish_job(seed=7).pictures[0]
    content = json.loads((await task).text.split("data: ")[1])["result"]["content"]
    assert [part["type"] for part in content] == ["image", "text", "text"]
    with Image.open(BytesIO(base64.b64decode(content[0]["data"]))) as image:
        assert json.loads(image.info["receipt"]) == json.loads(content[2]["text"])
    assert content[1]["text"] == f"Image URL: http://127.0.0.1/v1/images/{picture.id}"


async def test_wrong_calls_are_counted(tmp_path: Path) -> None:
    async with run_in_process_studio(tmp_path, requests_per_minute=2) as studio:
        codes = [(await McpClient(studio).refuse("txt2img")).partition(":")[0] for _ in range(3)]
    assert codes == ["invalid_request", "invalid_request", "too_many_requests"]


async def test_an_argument_that_is_null_counts_as_left_out(studio: InProcessStudio) -> None:
    task = await McpClient(studio).start_call(batch_size=None, loras=None, width=None)
    assert studio.worker.submitted[0].request.batch_size == 1
    studio.finish_job()
    assert not json.loads((await task).text.split("data: ")[1])["result"]["isError"]


async def test_the_address_of_a_picture_is_the_one_under_which_the_caller_reaches_the_studio(tmp_path: Path) -> None:
    async with run_in_process_studio(tmp_path, public_url="https://paint.example/here") as studio:
        client = McpClient(studio)
        for host, base_url in (
            ("paint.example", "https://paint.example/here"),
            ("10.1.1.1:7", "http://10.1.1.1:7/here"),
        ):
            client.headers = HEADERS | {"host": host}
            task = await client.start_call()
            (job,) = await client.list_jobs()
            await client.wait_for_state(job, "running")
            picture = studio.finish_job(job).pictures[0]
            assert f"Image URL: {base_url}/v1/images/{picture.id}" in (await task).text


async def test_a_failed_job_is_a_failed_call_with_its_code(studio: InProcessStudio) -> None:
    task = await McpClient(studio).start_call()
    studio.worker.emit_event(studio.worker.current_job_id, Failed(code="out_of_memory", message="Too large."))
    result = json.loads((await task).text.split("data: ")[1])["result"]
    assert (result["isError"], result["content"][0]["text"]) == (True, "out_of_memory: Too large.")


async def test_no_details_of_an_unexpected_error_are_sent(
    studio: InProcessStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(studio.service, "list_unfinished_jobs", fail)
    text = await McpClient(studio).refuse("list_jobs")
    assert text == "error: An unexpected error occurred. The studio's log has the details."


FORMS = (
    "{}", "http://127.0.0.1/v1/images/{}", "https://studio.localhost:81/v1/images/{}", "/v1/images/{}",
    "HTTP://paint.example/v1/images/{}?format=webp", " http://paint.example/here/v1/images/{}\n",
    "https://paint.example/here/here/v1/images/{}", "/here/v1/images/{}",
)  # fmt: skip


async def test_a_picture_to_start_from_is_named_by_its_id_or_its_address(tmp_path: Path) -> None:
    async with run_in_process_studio(tmp_path, public_url="https://paint.example/here") as studio:
        picture_id = await make_picture(studio)
        for number, form in enumerate(FORMS, start=2):
            arguments = PROMPT | {"init_image": form.format(picture_id)}
            call = asyncio.create_task(McpClient(studio).call("img2img", arguments))
            await wait_until_true(lambda: len(studio.worker.submitted) == number)  # noqa: B023
            assert studio.worker.submitted[-1].request.init_image is not None
            studio.finish_job()
            assert (await call)[0] is False


@pytest.mark.parametrize("head", ["", "data:image/png;base64,"])
async def test_a_picture_to_start_from_is_sent_in_base64(studio: InProcessStudio, head: str) -> None:
    call = asyncio.create_task(McpClient(studio).call("img2img", PROMPT | {"init_image": head + encode_png()}))
    await wait_until_true(lambda: studio.worker.submitted)
    studio.finish_job()
    assert (await call)[0] is False


async def test_a_cancelled_call_cancels_its_job(studio: InProcessStudio) -> None:
    client = McpClient(studio, "a session")
    running, waiting = await client.start_call(1), await client.start_call("two")
    first, second = await client.list_jobs()
    await client.cancel("two")
    assert "cancelled: " in (await waiting).text
    await client.wait_for_state(second, "cancelled")
    assert await client.get_state(first) == "running"
    await client.cancel(1)
    await running
    await wait_until_true(lambda: studio.worker.cancelled == [first])
    await client.wait_for_state(first, "cancelled")


async def test_a_cancelled_call_is_one_of_the_same_session(studio: InProcessStudio) -> None:
    client = McpClient(studio, "a session")
    task = await client.start_call(1)
    (job,) = await client.list_jobs()
    for other in (McpClient(studio, "another session"), McpClient(studio)):
        await other.cancel(1)
    await client.cancel("1")
    await client.cancel(2)
    await let_tasks_settle()
    assert await client.get_state(job) == "running"
    studio.finish_job()
    assert '"isError":false' in (await task).text


async def test_the_end_of_a_session_cancels_its_jobs_and_no_others(studio: InProcessStudio) -> None:
    client, other = McpClient(studio, "a session"), McpClient(studio, "another session")
    tasks = [await client.start_call(1), await other.start_call(1), await client.start_call(2)]
    first, second, third = await client.list_jobs()
    assert await client.close_session() == 200
    await asyncio.gather(tasks[0], tasks[2])
    for job, state in ((first, "cancelled"), (third, "cancelled"), (second, "running")):
        await client.wait_for_state(job, state)
    assert await McpClient(studio).close_session() == 400
    studio.finish_job(second)
    assert '"isError":false' in (await tasks[1]).text


async def test_sessions_of_the_same_name_of_two_users_are_two(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    keys = KeyStore(get_keys_path(Settings(data_dir=tmp_path / "data", access="keys")))
    async with run_in_process_studio(tmp_path, access="keys") as studio:
        ann, bob = (McpClient(studio, "a session", keys.add(name)) for name in ("ann", "bob"))
        task = await ann.start_call(1)
        (job,) = await ann.list_jobs()
        await bob.cancel(1)
        assert await bob.close_session() == 200
        assert await bob.list_jobs() == []
        assert await bob.refuse("get_job", {"job_id": job}) == f"unknown_job: There is no job {job}."
        assert await bob.refuse("cancel_job", {"job_id": job}) == f"unknown_job: There is no job {job}."
        assert await ann.get_state(job) == "running"
        studio.finish_job()
        await task
        assert (await McpClient(studio).post({"id": 1, "method": "tools/list"})).status_code == 401


class OpenRequest:
    """A request whose client stays connected until `disconnect`; httpx waits for the whole answer."""

    def __init__(self, studio: InProcessStudio, method: str, path: str, body: bytes = b"", token: str = "") -> None:
        self.received = b""
        self._messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        self._disconnected = asyncio.Event()
        headers = HEADERS | {
            "host": "127.0.0.1",
            "content-type": "application/json",
            "authorization": f"Bearer {token}",
        }
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": pairs,
                 "client": ("127.0.0.1", 1), "http_version": "1.1", "scheme": "http", "server": None}  # fmt: skip
        self._answer = asyncio.ensure_future(studio.app(scope, self._receive, self._send))

    async def disconnect(self) -> None:
        """Returns when the studio has ended the request."""
        self._disconnected.set()
        await asyncio.wait_for(self._answer, 5)

    async def _receive(self) -> Message:
        if self._messages:
            return self._messages.pop()
        await self._disconnected.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.received += message.get("body", b"")


async def test_a_client_that_disconnects_cancels_its_job(studio: InProcessStudio) -> None:
    params = {"name": "txt2img", "arguments": PROMPT}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    request = OpenRequest(studio, "POST", ENDPOINT, body)
    await wait_until_true(lambda: studio.worker.submitted)
    await request.disconnect()
    assert studio.worker.cancelled == [studio.worker.current_job_id]


async def test_a_stream_of_another_user_takes_no_messages(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    keys = KeyStore(get_keys_path(Settings(data_dir=tmp_path / "data", access="keys")))
    ann, bob = keys.add("ann"), keys.add("bob")
    async with run_in_process_studio(tmp_path, access="keys", public_url="https://paint.example/here") as studio:
        stream = OpenRequest(studio, "GET", "/gradio_api/mcp/sse", token=ann)
        await wait_until_true(lambda: b"data: " in stream.received)
        address = stream.received.decode().split("data: ")[1].split()[0]
        assert address.startswith("/here/gradio_api/mcp/messages/?session_id=")
        message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        statuses = [(await studio.make_client(key).post(address, json=message)).status_code for key in (bob, ann)]
        await stream.disconnect()
        gone = (await studio.make_client(ann).post(address, json=message)).status_code
    assert (statuses, gone) == ([404, 202], 404)


async def test_progress_increases_with_each_notification_and_says_what_happens(studio: InProcessStudio) -> None:
    client = McpClient(studio)
    ahead = await client.start_call()
    meta = {"progressToken": "a token"}
    call = asyncio.create_task(client.request("tools/call", name="txt2img", arguments=PROMPT, _meta=meta))
    await wait_until_true(lambda: len(studio.service.queue) == 1)
    await let_tasks_settle()
    studio.finish_job()
    await ahead
    await wait_until_true(lambda: len(studio.worker.submitted) == 2)
    job = studio.worker.current_job_id
    for event in (Loading(model="embedded"), Progress(step=1, steps=2), Progress(step=2, steps=2)):
        studio.worker.emit_event(job, event)
    studio.finish_job(job)
    *notifications, result = await call
    sent = [message["params"] for message in notifications]
    assert [params["message"] for params in sent] == [
        "Waiting, you are next", "Starting", "Loading embedded", "Step 1 of 2", "Step 2 of 2",
    ]  # fmt: skip
    values = [params["progress"] for params in sent]
    assert values == sorted(set(values)) and values[-2:] == [50, 100]
    assert {(params["progressToken"], params["total"]) for params in sent} == {("a token", 100)}
    assert result["result"]["isError"] is False


async def test_jobs_of_every_door_are_listed_looked_up_and_cancelled(studio: InProcessStudio) -> None:
    client = McpClient(studio)
    jobs = [(await client.web.post("/v1/jobs", json=PROMPT)).json()["id"] for _ in range(2)]
    assert await client.list_jobs() == jobs
    assert json.loads((await client.call("get_job", {"job_id": jobs[1]}))[1][0])["position"] == 0
    is_error, texts = await client.call("cancel_job", {"job_id": jobs[1]})
    assert (is_error, json.loads(texts[0])["state"]) == (False, "cancelled")
    picture = studio.finish_job(jobs[0]).pictures[0].id
    await client.wait_for_state(jobs[0], "done")
    state, url = (await client.call("get_job", {"job_id": jobs[0]}))[1]
    assert json.loads(state)["state"] == "done"
    assert url == f"Image URL: http://127.0.0.1/v1/images/{picture}"
    assert await client.list_jobs() == []


async def test_a_job_is_ended_early_with_its_picture(studio: InProcessStudio) -> None:
    client = McpClient(studio)
    job = (await client.web.post("/v1/jobs", json=PROMPT)).json()["id"]
    assert (await client.refuse("finish_job", {"job_id": job})).startswith("nothing_to_keep: The job has no picture")
    studio.worker.emit_event(job, Progress(step=3, steps=20))
    await let_tasks_settle()
    is_error, texts = await client.call("finish_job", {"job_id": job})
    assert (is_error, json.loads(texts[0])["state"]) == (False, "running")
    assert studio.worker.finished_early == [job]
    studio.finish_job(job, unfinished_at_step=4)
    await client.wait_for_state(job, "done")
    state, _ = (await client.call("finish_job", {"job_id": job}))[1]
    assert json.loads(state)["result"]["receipt"]["unfinished_at_step"] == 4


async def test_a_lora_on_disk_is_loaded_and_its_download_need_not_be_stopped(studio: InProcessStudio) -> None:
    client = McpClient(studio)
    meta = {"progressToken": 1}
    *notifications, answer = await client.request(
        "tools/call", name="load_lora", arguments={"lora": "neon"}, _meta=meta
    )
    assert [message["params"]["message"] for message in notifications] == ["Loading", "Ready"]
    assert json.loads(answer["result"]["content"][0]["text"])["id"] == "neon"
    unloaded = (await client.call("unload_lora", {"lora": "neon"}))[1]
    assert json.loads(unloaded[0]) == {"unloaded": "neon", "deleted": False}
    assert (await client.refuse("load_lora", {"lora": "nothing"})).startswith("unknown_model: ")


async def test_only_an_administrator_downloads_and_deletes(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    key = KeyStore(get_keys_path(Settings(data_dir=tmp_path / "data", access="keys"))).add("ann")
    async with run_in_process_studio(tmp_path, access="keys") as studio:
        client = McpClient(studio, token=key)
        for tool, arguments in (("load_model", {}), ("unload_model", {"delete": True})):
            problem = await client.refuse(tool, {"model": "sd-1.5"} | arguments)
            assert problem.startswith("not_allowed: ")


async def test_the_library_is_searched_changed_and_cleared_with_tools(studio: InProcessStudio) -> None:
    client, picture = McpClient(studio), await make_picture(studio)

    async def list_ids(**query: object) -> list[str]:
        is_error, (text,) = await client.call("list_pictures", query)
        assert not is_error
        return [each["id"] for each in json.loads(text)["pictures"]]

    assert await list_ids(search="circle", tool="txt2img", favourite=None) == [picture]
    _, (address, facts) = await client.call("get_picture", {"picture_id": picture})
    assert address.endswith(f"/v1/images/{picture}") and json.loads(facts)["receipt"]["seed"] == 7
    await client.call("change_picture", {"picture_id": picture, "favourite": True, "albums": ["Cats"]})
    assert await list_ids(favourite=True, album="Cats", since="2020-01-01") == [picture]
    assert await list_ids(id=picture) == [picture]
    assert await list_ids(id="0" * 32) == []
    await client.call("delete_picture", {"picture_id": picture})
    assert await list_ids() == []
    assert (await client.refuse("get_picture", {"picture_id": picture})).startswith("unknown_picture: ")
    await client.call("change_picture", {"picture_id": picture, "deleted": False})
    assert await list_ids() == [picture]
    assert (await client.refuse("list_pictures", {"limit": 0})).startswith("invalid_request: limit: ")
