"""Responses, streams and errors as OpenAI's own client reads them, with a scripted worker."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterable, MutableMapping
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from PIL import Image
from starlette.types import ASGIApp, Receive, Scope, Send

from imagegen.api.app import create_api
from imagegen.api.openai.door import create_openai_door, create_picture_links_door
from imagegen.api.openai.picture_links import PictureLinks
from imagegen.api.openai.requests import GenerationAsked
from imagegen.api.openai.stream import ImageEventStream
from imagegen.schema.base import User
from imagegen.schema.events import Event, Failed, Progress, Result
from imagegen.service import Service
from imagegen.settings import Settings
from imagegen.storage.files import ImageStore
from imagegen.storage.storage import Storage
from tests.doubles import ScriptedWorker, make_library, make_receipt
from tests.unit.settled_service import SettledService
from tests.unit.stored_jobs import list_unfinished_ids
from tests.unit.wait import let_tasks_settle, wait_until_true

ANN = User(id="ann")
NOW = 1_800_000_000


@pytest.fixture
def worker() -> ScriptedWorker:
    return ScriptedWorker()


@pytest.fixture
async def service(tmp_path: Path, worker: ScriptedWorker) -> AsyncIterator[Service]:
    settings = Settings(data_dir=tmp_path, max_queued=1, max_running=1, public_url="https://studio.example.org/")
    service = SettledService(
        settings,
        make_library(tmp_path),
        Storage(tmp_path / "jobs.sqlite"),
        ImageStore(tmp_path),
        worker,
    )
    await service.start()
    worker.report_ready()
    await wait_until_true(lambda: service.worker_state == "ready")
    yield service
    await service.stop()


@pytest.fixture
async def client(service: Service, tmp_path: Path) -> AsyncIterator[openai.AsyncOpenAI]:
    links = PictureLinks(b"secret", clock=lambda: NOW)
    api = create_api([create_openai_door(service, links), create_picture_links_door(service, links)])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=authenticate_as_ann(api))) as http:
        yield openai.AsyncOpenAI(base_url="http://studio/v1", api_key="any", http_client=http, max_retries=0)


def authenticate_as_ann(api: ASGIApp) -> ASGIApp:
    """Authenticates as the middleware does."""

    async def add_user(scope: Scope, receive: Receive, send: Send) -> None:
        state: MutableMapping[str, Any] = {"user": ANN}
        await api({**scope, "state": state}, receive, send)

    return add_user


def preview() -> str:
    buffer = BytesIO()
    Image.new("RGB", (64, 32), "red").save(buffer, format="JPEG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def result(service: Service, *seeds: int) -> Result:
    pictures = [service.images.write_picture(Image.new("RGB", (128, 128)), make_receipt(seed=seed)) for seed in seeds]
    return Result(pictures=tuple(pictures), latency_ms=1200)


def open_image(content: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(content)))


async def complete_request(pending_response: Any, worker: ScriptedWorker, events: Iterable[Event]) -> Any:
    """Returns the client's response when its job ends with this event."""
    task = asyncio.ensure_future(pending_response)
    await wait_until_true(lambda: worker.submitted)
    for event in events:
        worker.emit_event(worker.current_job_id, event)
        await let_tasks_settle()
    return await task


async def collect_stream(pending_response: Any) -> list[Any]:
    return [event async for event in await pending_response]


async def test_an_answer_has_all_that_openais_has_and_the_receipts(
    client: openai.AsyncOpenAI, service: Service, worker: ScriptedWorker
) -> None:
    done = result(service, 7, 8)
    answer = await complete_request(client.images.generate(prompt="a red circle", n=2), worker, [done])
    assert [open_image(picture.b64_json).size for picture in answer.data] == [(128, 128)] * 2
    assert (answer.size, answer.output_format, answer.background, answer.quality) == (
        "128x128", "png", "opaque", "auto",
    )  # fmt: skip
    assert (answer.model, answer.requested) == ("embedded", None)
    assert answer.usage.total_tokens == 0
    assert answer.model_extra["receipts"] == [picture.receipt.model_dump(mode="json") for picture in done.pictures]


async def test_picture_addresses_use_the_public_url(
    client: openai.AsyncOpenAI, service: Service, worker: ScriptedWorker
) -> None:
    done = result(service, 7)
    pending_response = client.images.generate(
        prompt="a red circle", response_format="url", output_format="jpeg", output_compression=0
    )
    answer = await complete_request(pending_response, worker, [done])
    address = f"https://studio.example.org/v1/images/signed/{done.pictures[0].id}.jpeg?quality=1&expires={NOW + 3600}&"
    assert answer.data[0].url.startswith(address) and answer.data[0].b64_json is None


async def test_a_stream_ends_with_each_picture_and_its_receipt(
    client: openai.AsyncOpenAI, service: Service, worker: ScriptedWorker
) -> None:
    pending_response = client.images.generate(
        prompt="a red circle", n=2, stream=True, partial_images=1, output_format="webp", extra_body={"steps": 2}
    )
    events: list[Event] = [Progress(step=1, steps=2, preview=preview()), result(service, 7, 8)]
    partial, *completed = await complete_request(collect_stream(pending_response), worker, events)
    assert (partial.type, partial.partial_image_index) == ("image_generation.partial_image", 0)
    assert [event.type for event in completed] == ["image_generation.completed"] * 2
    assert [event.model_extra["receipt"]["seed"] for event in completed] == [7, 8]
    for event, size in (partial, "64x32"), (completed[0], "128x128"):
        assert open_image(event.b64_json).format == event.output_format.upper() == "WEBP"
        assert "{}x{}".format(*open_image(event.b64_json).size) == event.size == size


@pytest.mark.parametrize(("wanted", "shown"), [(0, []), (1, [6]), (2, [4, 8]), (3, [3, 6, 9])])
async def test_partial_pictures_are_spread_over_the_steps(service: Service, wanted: int, shown: list[int]) -> None:
    request = GenerationAsked(prompt="a red circle", stream=True, partial_images=wanted)
    stream = ImageEventStream(service, request, "image_generation")
    steps = [Progress(step=step, steps=12, preview=preview()) for step in range(1, 13)]
    assert [progress.step for progress in steps if await stream.convert_event(progress)] == shown


async def test_steps_without_a_preview_show_nothing(service: Service) -> None:
    stream = ImageEventStream(
        service, GenerationAsked(prompt="a red circle", stream=True, partial_images=3), "image_edit"
    )
    assert await stream.convert_event(Progress(step=5, steps=6)) == []
    (late,) = await stream.convert_event(Progress(step=6, steps=6, preview=preview()))
    assert late.type == "image_edit.partial_image"


async def test_a_job_that_fails_in_a_stream_is_an_exception_with_the_studios_message(
    client: openai.AsyncOpenAI, service: Service, worker: ScriptedWorker
) -> None:
    pending_response = client.images.generate(prompt="a red circle", stream=True)
    with pytest.raises(openai.APIError, match="There was not enough memory") as failed:
        await complete_request(
            collect_stream(pending_response),
            worker,
            [Failed(code="out_of_memory", message="There was not enough memory.")],
        )
    assert (failed.value.code, failed.value.type) == ("out_of_memory", "server_error")


async def test_what_is_wrong_from_the_beginning_is_no_stream(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.images.generate(prompt="a red circle", stream=True, size="1024x1024")
    assert (refused.value.code, refused.value.param) == ("invalid_request", "size")


async def test_a_job_that_fails_is_an_exception(
    client: openai.AsyncOpenAI, service: Service, worker: ScriptedWorker
) -> None:
    failed = Failed(code="out_of_memory", message="There was not enough memory.")
    with pytest.raises(openai.InternalServerError, match="There was not enough memory") as error_body:
        await complete_request(client.images.generate(prompt="a red circle"), worker, [failed])
    assert error_body.value.code == "out_of_memory"


async def test_a_full_queue_names_the_time_to_retry(client: openai.AsyncOpenAI, service: Service) -> None:
    waiting = [asyncio.create_task(client.images.generate(prompt="a red circle")) for _ in range(2)]
    await wait_until_true(lambda: len(list_unfinished_ids(service, ANN.id)) == 2)
    with pytest.raises(openai.InternalServerError, match="1 jobs are waiting") as refused:
        await client.images.generate(prompt="a red circle")
    assert refused.value.code == "queue_full" and int(refused.value.response.headers["retry-after"]) > 0
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_the_same_key_gives_the_same_picture(
    client: openai.AsyncOpenAI, service: Service, worker: ScriptedWorker
) -> None:
    done, key = result(service, 7), {"Idempotency-Key": "mine"}
    first = await complete_request(client.images.generate(prompt="a red circle", extra_headers=key), worker, [done])
    again = await client.images.generate(prompt="a red circle", extra_headers=key)
    assert again == first and len(worker.submitted) == 1
    with pytest.raises(openai.ConflictError) as refused:
        await client.images.generate(prompt="a blue circle", extra_headers=key)
    assert refused.value.code == "key_reused"
