"""The same request of the same user again returns the cached pictures; any difference makes new ones."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from imagegen.errors import InvalidRequest, QueueFull, TooManyRequests
from imagegen.schema.base import User
from imagegen.schema.events import Cancelled, Event, Failed, Result
from imagegen.schema.receipt import RequestedAs
from imagegen.schema.request import GenerationRequest, LoraUse
from imagegen.settings import Settings
from imagegen.storage.files import ImageStore
from imagegen.storage.storage import Storage
from imagegen.workers.messages import WorkerReady
from tests.doubles import ScriptedWorker, make_library, make_receipt
from tests.unit.in_process_studio import InProcessStudio, run_in_process_studio
from tests.unit.model_files import write_lora, write_unet_model
from tests.unit.settled_service import SettledService
from tests.unit.stored_jobs import change_rows, read_job
from tests.unit.wait import wait_until_true

ANN, BOB = User(id="ann"), User(id="bob")
REQUEST = GenerationRequest(prompt="a red circle", seed=7)


class CachingServiceHarness:
    """A service over a folder, and its worker."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder, self.worker = folder, ScriptedWorker()
        usual = {"data_dir": folder, "max_running": 1, "output_cache": True}
        self.service = SettledService(
            Settings.model_validate(usual | settings),
            make_library(folder),
            Storage(folder / "jobs.sqlite"),
            ImageStore(folder),
            self.worker,
        )

    async def start(self) -> None:
        await self.service.start()
        self.worker.report_ready()
        await wait_until_true(lambda: self.service.worker_state == "ready")

    async def stop(self) -> None:
        await self.service.stop()
        self.service.storage.close()

    def finish_current_job(self, count: int = 1) -> Result:
        """Ends the running job with `count` pictures."""
        image = Image.new("RGB", (16, 16), "grey")
        pictures = tuple(
            self.service.images.write_picture(image, make_receipt(seed=7 + place)) for place in range(count)
        )
        done = Result(pictures=pictures, latency_ms=1200, vram_peak_mb=512.5, nsfw_detected=False)
        self.worker.emit_event(self.worker.current_job_id, done)
        return done

    async def collect_job_events(self, job_id: str, user: User = ANN) -> list[Event]:
        return [event async for event in self.service.events(job_id, user)]

    async def run_on_worker(self, request: GenerationRequest = REQUEST, user: User = ANN, count: int = 1) -> Result:
        """Runs a job that the worker must do."""
        before = len(self.worker.submitted)
        job_id = await self.service.submit(request, user)
        assert len(self.worker.submitted) == before + 1, "the result came from the cache"
        done = self.finish_current_job(count)
        await self.collect_job_events(job_id, user)
        return done

    async def answer_from_cache(self, request: GenerationRequest = REQUEST, user: User = ANN) -> Result:
        """Runs a job that the worker must not get."""
        before = len(self.worker.submitted)
        job_id = await self.service.submit(request, user)
        assert len(self.worker.submitted) == before, "the worker got the job"
        last = (await self.collect_job_events(job_id, user))[-1]
        assert isinstance(last, Result)
        return last


@pytest.fixture
async def caching_service(tmp_path: Path) -> AsyncIterator[CachingServiceHarness]:
    place = CachingServiceHarness(tmp_path)
    await place.start()
    yield place
    await place.stop()


async def test_the_same_request_returns_the_stored_pictures_marked_as_cached(
    caching_service: CachingServiceHarness,
) -> None:
    done = await caching_service.run_on_worker(count=2)
    again = await caching_service.answer_from_cache()
    assert [picture.id for picture in again.pictures] == [picture.id for picture in done.pictures]
    assert [picture.receipt.cached for picture in done.pictures] == [False, False]
    assert [picture.receipt for picture in again.pictures] == [
        picture.receipt.model_copy(update={"cached": True}) for picture in done.pictures
    ]
    assert again.latency_ms < 1000 and again.vram_peak_mb is None and again.nsfw_detected is False
    assert again.pictures == (await caching_service.answer_from_cache()).pictures, "as often as one likes"


async def test_it_begins_and_ends_like_any_other_job(
    caching_service: CachingServiceHarness, caplog: pytest.LogCaptureFixture
) -> None:
    await caching_service.run_on_worker()
    caplog.set_level("INFO")
    job_id = await caching_service.service.submit(REQUEST, ANN)
    assert [event.type for event in await caching_service.collect_job_events(job_id)] == ["queued", "started", "result"]
    assert [event.seq for event in await caching_service.collect_job_events(job_id)] == [1, 2, 3]
    assert (await caching_service.service.get_job(job_id, ANN)).state == "done"
    (line,) = [record for record in caplog.records if record.__dict__.get("job_id") == job_id]
    assert (line.__dict__["job_id"], line.__dict__["cached"]) == (job_id, True)
    await caching_service.service.cancel(job_id, ANN)
    assert caching_service.worker.cancelled == []


async def test_a_cached_receipt_says_what_this_request_named(caching_service: CachingServiceHarness) -> None:
    await caching_service.run_on_worker()
    requested = RequestedAs(model="dall-e-3", size="1024x1024")
    job_id = await caching_service.service.submit(REQUEST, ANN, requested=requested)
    last = (await caching_service.collect_job_events(job_id))[-1]
    assert isinstance(last, Result)
    assert [picture.receipt.requested for picture in last.pictures] == [requested]
    assert [picture.receipt.requested for picture in (await caching_service.answer_from_cache()).pictures] == [None]


async def test_model_defaults_may_be_given_or_left_out(caching_service: CachingServiceHarness) -> None:
    await caching_service.run_on_worker()
    model = caching_service.service.model_manager.get_default()
    await caching_service.answer_from_cache(
        GenerationRequest(prompt="a red circle", seed=7, steps=model.steps, model="embedded")
    )


async def test_a_request_that_leaves_its_seed_open_is_always_made(
    caching_service: CachingServiceHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda _: 7)
    await caching_service.run_on_worker()
    await caching_service.run_on_worker(GenerationRequest(prompt="a red circle"))


@pytest.mark.parametrize(
    "change",
    [
        *({"prompt": "a blue circle"}, {"seed": 8}, {"batch_size": 2}, {"steps": 5}),
        *({"variation_strength": 0.1}, {"variation_seed": 8, "variation_strength": 0.1}),
    ],
)
async def test_another_request_is_made(caching_service: CachingServiceHarness, change: dict[str, object]) -> None:
    await caching_service.run_on_worker()
    await caching_service.run_on_worker(REQUEST.model_copy(update=change))


async def test_another_variation_is_made_and_a_variation_seed_without_strength_is_none(
    caching_service: CachingServiceHarness,
) -> None:
    await caching_service.run_on_worker()
    await caching_service.answer_from_cache(REQUEST.model_copy(update={"variation_seed": 5}))
    varied = REQUEST.model_copy(update={"variation_seed": 5, "variation_strength": 0.1})
    await caching_service.run_on_worker(varied)
    await caching_service.answer_from_cache(varied)
    await caching_service.run_on_worker(varied.model_copy(update={"variation_seed": 6}))


async def test_another_user_gets_pictures_of_their_own(caching_service: CachingServiceHarness) -> None:
    await caching_service.run_on_worker()
    await caching_service.run_on_worker(user=BOB)
    await caching_service.answer_from_cache(user=BOB)


async def test_nothing_is_cached_unless_the_setting_is_on(tmp_path: Path) -> None:
    place = CachingServiceHarness(tmp_path, output_cache=False)
    await place.start()
    await place.run_on_worker()
    await place.run_on_worker()
    await place.stop()


async def test_a_picture_that_was_deleted_is_made_anew(caching_service: CachingServiceHarness) -> None:
    done = await caching_service.run_on_worker(count=2)
    caching_service.service.images.picture_path(done.pictures[1].id).unlink()
    await caching_service.run_on_worker(count=2)
    await caching_service.answer_from_cache()


@pytest.mark.parametrize("end", [Failed(code="job_failed", message="It failed."), Cancelled()])
async def test_what_failed_or_was_cancelled_is_no_answer(
    caching_service: CachingServiceHarness, end: Failed | Cancelled
) -> None:
    job_id = await caching_service.service.submit(REQUEST, ANN)
    caching_service.worker.emit_event(job_id, end)
    await caching_service.collect_job_events(job_id)
    await caching_service.run_on_worker()


async def test_an_unfinished_picture_is_no_answer(caching_service: CachingServiceHarness) -> None:
    job_id = await caching_service.service.submit(REQUEST, ANN)
    picture = caching_service.service.images.write_picture(
        Image.new("RGB", (16, 16), "grey"), make_receipt(seed=7, unfinished_at_step=3)
    )
    caching_service.worker.emit_event(job_id, Result(pictures=(picture,), latency_ms=600))
    await caching_service.collect_job_events(job_id)
    finished = await caching_service.run_on_worker()
    again = await caching_service.answer_from_cache()
    assert [each.id for each in again.pictures] == [each.id for each in finished.pictures]


async def test_a_model_whose_files_changed_is_another(caching_service: CachingServiceHarness) -> None:
    folder = write_unet_model(caching_service.folder / "models" / "mine")
    request = REQUEST.model_copy(update={"model": "mine"})
    await caching_service.run_on_worker(request)
    await caching_service.answer_from_cache(request)
    index = folder / "model_index.json"
    index.write_bytes(index.read_bytes() + b"\n")
    await caching_service.run_on_worker(request)


async def test_a_lora_whose_file_changed_is_another(caching_service: CachingServiceHarness) -> None:
    file = write_lora(caching_service.folder / "models" / "loras" / "mine.safetensors")
    request = REQUEST.model_copy(update={"loras": (LoraUse(lora="mine"),)})
    await caching_service.run_on_worker(request)
    await caching_service.answer_from_cache(request)
    await caching_service.run_on_worker(REQUEST.model_copy(update={"loras": (LoraUse(lora="mine", weight=0.5),)}))
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    await caching_service.run_on_worker(request)


@pytest.mark.parametrize("other", [{"device": "cuda"}, {"dtype": "float16"}, {"versions": {"torch": "3"}}])
async def test_what_another_worker_would_make_is_made(
    caching_service: CachingServiceHarness, other: dict[str, object]
) -> None:
    await caching_service.run_on_worker()
    await restart_worker(caching_service, **other)
    await caching_service.run_on_worker()
    await caching_service.answer_from_cache()


async def test_an_update_of_the_studio_keeps_the_cache(caching_service: CachingServiceHarness) -> None:
    """The versions of the packages that generate the pictures are the same."""
    await restart_worker(caching_service, versions={"studio": "0.2.0", "torch": "2.13.0"})
    done = await caching_service.run_on_worker()
    await restart_worker(caching_service, versions={"studio": "0.3.0", "torch": "2.13.0"})
    assert (await caching_service.answer_from_cache()).pictures[0].id == done.pictures[0].id


async def restart_worker(caching_service: CachingServiceHarness, **facts: object) -> None:
    """The worker stops and comes back with other facts."""
    caching_service.worker.report_gone()
    await wait_until_true(lambda: caching_service.service.worker_state == "warming up")
    usual = {"worker": "cpu", "device": "cpu", "dtype": "float32"}
    caching_service.worker.emit_report(WorkerReady.model_validate(usual | facts))
    await wait_until_true(lambda: caching_service.service.worker_state == "ready")


async def test_a_stored_result_that_cannot_be_read_is_generated_again(caching_service: CachingServiceHarness) -> None:
    await caching_service.run_on_worker()
    change_rows(caching_service.service, "UPDATE events SET event = json_set(event, '$.of_tomorrow', 1)")
    await caching_service.run_on_worker()
    await caching_service.answer_from_cache()


async def test_the_cache_survives_a_restart(tmp_path: Path) -> None:
    first = CachingServiceHarness(tmp_path)
    await first.start()
    done = await first.run_on_worker()
    await first.stop()
    second = CachingServiceHarness(tmp_path)
    await second.start()
    assert (await second.answer_from_cache()).pictures[0].id == done.pictures[0].id
    await second.stop()


async def test_an_answer_needs_no_room_in_the_queue(tmp_path: Path) -> None:
    place = CachingServiceHarness(tmp_path, max_queued=1)
    await place.start()
    await place.run_on_worker()
    for seed in (1, 2):
        await place.service.submit(REQUEST.model_copy(update={"seed": seed}), BOB)
    with pytest.raises(QueueFull):
        await place.service.submit(REQUEST.model_copy(update={"seed": 3}), ANN)
    await place.answer_from_cache()
    assert len(place.service.queue.list_queued()) == 1
    await place.stop()


async def test_an_answer_is_a_request_like_any_other_to_the_limit(tmp_path: Path) -> None:
    place = CachingServiceHarness(tmp_path, requests_per_minute=2)
    await place.start()
    await place.run_on_worker()
    await place.answer_from_cache()
    with pytest.raises(TooManyRequests):
        await place.service.submit(REQUEST, ANN)
    await place.stop()


async def test_an_answer_is_not_how_long_a_job_takes(caching_service: CachingServiceHarness) -> None:
    await caching_service.run_on_worker()
    usual = caching_service.service.queue.throughput.seconds_per_job
    for _ in range(25):
        await caching_service.answer_from_cache()
    assert caching_service.service.queue.throughput.seconds_per_job == usual


async def test_an_idempotency_key_names_one_job_also_when_it_is_cached(caching_service: CachingServiceHarness) -> None:
    await caching_service.run_on_worker()
    first, again = [await caching_service.service.submit(REQUEST, ANN, idempotency_key="a key") for _ in range(2)]
    assert first == again
    assert await caching_service.service.submit(REQUEST, ANN, idempotency_key="another") != first


async def test_a_picture_to_start_from_must_still_be_ones_own(caching_service: CachingServiceHarness) -> None:
    image_id = await caching_service.service.add_input(png(), ANN, "init_image")
    request = REQUEST.model_copy(update={"init_image": image_id})
    await caching_service.run_on_worker(request)
    await caching_service.answer_from_cache(request)
    with pytest.raises(InvalidRequest):
        await caching_service.service.submit(request, BOB)


def png() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (64, 64), "navy").save(buffer, "PNG")
    return buffer.getvalue()


async def test_api_responses_and_files_report_the_cache(tmp_path: Path) -> None:
    request_body = {"prompt": "a red circle", "seed": 7, "width": 128, "height": 128}
    async with run_in_process_studio(tmp_path, output_cache=True) as in_process_studio:
        await run_rest_job(in_process_studio, request_body)
        job = (await in_process_studio.client_without_token.post("/v1/jobs", json=request_body)).json()
        assert (job["state"], job["started"], job["result"]["receipt"]["cached"]) == ("done", None, True)
        answer = (await in_process_studio.client_without_token.post("/v1/txt2img", json=request_body)).json()
        assert answer["receipt"]["cached"] is True
        with Image.open(in_process_studio.service.images.picture_path(answer["id"])) as image:
            assert json.loads(image.info["receipt"])["cached"] is False
        theirs = {
            "steps": answer["receipt"]["steps"],
            "cfg_scale": answer["receipt"]["guidance_scale"],
            "sampler_name": answer["receipt"]["sampler"],
            "scheduler": "uniform",
        }
        drawn = (
            await in_process_studio.client_without_token.post("/sdapi/v1/txt2img", json=request_body | theirs)
        ).json()
        info = json.loads(drawn["info"])
        assert info["receipts"][0]["cached"] is True and "cached" not in info["infotexts"][0]
        assert len(in_process_studio.worker.submitted) == 1


async def run_rest_job(in_process_studio: InProcessStudio, request_body: dict[str, object]) -> None:
    job = (await in_process_studio.client_without_token.post("/v1/jobs", json=request_body)).json()
    in_process_studio.finish_job(job["id"])
    await wait_until_true(lambda: read_job(in_process_studio.service, job["id"]).state == "done")
