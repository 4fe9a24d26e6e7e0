"""The same request of the same user again: answered by the pictures of then, or made anew when anything differs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from imagegen.errors import InvalidRequest, QueueFull, TooManyRequests
from imagegen.images import ImageStore
from imagegen.jobs import JobStore
from imagegen.schema import Cancelled, Event, Failed, GenerationRequest, LoraUse, Result, User
from imagegen.service import Service
from imagegen.settings import Settings
from imagegen.workers.messages import WorkerReady
from tests.doubles import ScriptedWorker, library, receipt
from tests.unit.doors import Behind, studio
from tests.unit.folders import lora, unet_model
from tests.unit.waiting import until

ANN, BOB = User(id="ann"), User(id="bob")
REQUEST = GenerationRequest(prompt="a red circle", seed=7)


class Place:
    """A service over a folder, and its worker."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder, self.worker = folder, ScriptedWorker()
        usual = {"data_dir": folder, "max_running": 1, "output_cache": True}
        self.service = Service(
            Settings.model_validate(usual | settings),
            library(folder),
            JobStore(folder / "jobs.sqlite"),
            ImageStore(folder),
            self.worker,
        )

    async def open(self) -> None:
        await self.service.start()
        self.worker.ready()
        await until(lambda: self.service.state == "ready")

    async def close(self) -> None:
        await self.service.stop()
        self.service.jobs.close()

    def finish(self, count: int = 1) -> Result:
        """Lets the job that runs give so many pictures."""
        image = Image.new("RGB", (16, 16), "grey")
        pictures = tuple(self.service.images.write(image, receipt(seed=7 + place)) for place in range(count))
        done = Result(pictures=pictures, latency_ms=1200, vram_peak_mb=512.5, nsfw_detected=False)
        self.worker.tell(self.worker.current, done)
        return done

    async def seen(self, job_id: str, user: User = ANN) -> list[Event]:
        return [event async for event in self.service.events(job_id, user)]

    async def made(self, request: GenerationRequest = REQUEST, user: User = ANN, count: int = 1) -> Result:
        """A job that the worker does."""
        before = len(self.worker.submitted)
        job_id = await self.service.submit(request, user)
        assert len(self.worker.submitted) == before + 1, "it was answered without the worker"
        done = self.finish(count)
        await self.seen(job_id, user)
        return done

    async def answered(self, request: GenerationRequest = REQUEST, user: User = ANN) -> Result:
        """One that it is not asked for."""
        before = len(self.worker.submitted)
        job_id = await self.service.submit(request, user)
        assert len(self.worker.submitted) == before, "the worker was asked"
        last = (await self.seen(job_id, user))[-1]
        assert isinstance(last, Result)
        return last


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(tmp_path)
    await place.open()
    yield place
    await place.close()


async def test_the_same_request_gives_the_pictures_of_then_and_says_so(place: Place) -> None:
    done = await place.made(count=2)
    again = await place.answered()
    assert [picture.id for picture in again.pictures] == [picture.id for picture in done.pictures]
    assert [picture.receipt.cached for picture in done.pictures] == [False, False]
    assert [picture.receipt for picture in again.pictures] == [
        picture.receipt.model_copy(update={"cached": True}) for picture in done.pictures
    ]
    assert again.latency_ms < 1000 and again.vram_peak_mb is None and again.nsfw_detected is False
    assert again == await place.answered(), "as often as one likes"


async def test_it_begins_and_ends_like_any_other_job(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    await place.made()
    caplog.set_level("INFO")
    job_id = await place.service.submit(REQUEST, ANN)
    assert [event.type for event in await place.seen(job_id)] == ["queued", "started", "result"]
    assert [event.seq for event in await place.seen(job_id)] == [1, 2, 3]
    assert place.service.job(job_id, ANN).state == "done"
    (line,) = [record for record in caplog.records if record.message == "Generation finished"]
    assert (line.__dict__["job_id"], line.__dict__["cached"]) == (job_id, True)
    await place.service.cancel(job_id, ANN)
    assert place.worker.cancelled == []


async def test_what_the_model_would_choose_may_be_said_or_left_out(place: Place) -> None:
    await place.made()
    model = place.service.stock.default()
    await place.answered(GenerationRequest(prompt="a red circle", seed=7, steps=model.steps, model="embedded"))


async def test_a_request_that_leaves_its_seed_open_is_always_made(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda _: 7)
    await place.made()
    await place.made(GenerationRequest(prompt="a red circle"))


@pytest.mark.parametrize("change", [{"prompt": "a blue circle"}, {"seed": 8}, {"batch_size": 2}, {"steps": 5}])
async def test_another_request_is_made(place: Place, change: dict[str, object]) -> None:
    await place.made()
    await place.made(REQUEST.model_copy(update=change))


async def test_another_user_gets_pictures_of_his_own(place: Place) -> None:
    await place.made()
    await place.made(user=BOB)
    await place.answered(user=BOB)


async def test_nothing_is_kept_unless_the_setting_says_so(tmp_path: Path) -> None:
    place = Place(tmp_path, output_cache=False)
    await place.open()
    await place.made()
    await place.made()
    await place.close()


async def test_a_picture_that_was_deleted_is_made_anew(place: Place) -> None:
    done = await place.made(count=2)
    place.service.images.path(done.pictures[1].id).unlink()
    await place.made(count=2)
    await place.answered()


@pytest.mark.parametrize("end", [Failed(code="job_failed", message="It failed."), Cancelled()])
async def test_what_failed_or_was_cancelled_is_no_answer(place: Place, end: Failed | Cancelled) -> None:
    job_id = await place.service.submit(REQUEST, ANN)
    place.worker.tell(job_id, end)
    await place.seen(job_id)
    await place.made()


async def test_a_model_whose_files_changed_is_another(place: Place) -> None:
    folder = unet_model(place.folder / "models" / "mine")
    request = REQUEST.model_copy(update={"model": "mine"})
    await place.made(request)
    await place.answered(request)
    index = folder / "model_index.json"
    index.write_bytes(index.read_bytes() + b"\n")
    await place.made(request)


async def test_a_lora_whose_file_changed_is_another(place: Place) -> None:
    file = lora(place.folder / "models" / "loras" / "mine.safetensors")
    request = REQUEST.model_copy(update={"loras": (LoraUse(lora="mine"),)})
    await place.made(request)
    await place.answered(request)
    await place.made(REQUEST.model_copy(update={"loras": (LoraUse(lora="mine", weight=0.5),)}))
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    await place.made(request)


@pytest.mark.parametrize("other", [{"device": "cuda"}, {"dtype": "float16"}, {"versions": {"torch": "3"}}])
async def test_what_another_worker_would_make_is_made(place: Place, other: dict[str, object]) -> None:
    await place.made()
    place.worker.gone()
    await until(lambda: place.service.state == "warming up")
    usual = {"device": "cpu", "dtype": "float32"}
    place.worker.report(WorkerReady.model_validate(usual | other))
    await until(lambda: place.service.state == "ready")
    await place.made()
    await place.answered()


async def test_answers_are_known_after_a_restart(tmp_path: Path) -> None:
    first = Place(tmp_path)
    await first.open()
    done = await first.made()
    await first.close()
    second = Place(tmp_path)
    await second.open()
    assert (await second.answered()).pictures[0].id == done.pictures[0].id
    await second.close()


async def test_an_answer_needs_no_room_in_the_queue(tmp_path: Path) -> None:
    place = Place(tmp_path, max_queued=1)
    await place.open()
    await place.made()
    for seed in (1, 2):
        await place.service.submit(REQUEST.model_copy(update={"seed": seed}), BOB)
    with pytest.raises(QueueFull):
        await place.service.submit(REQUEST.model_copy(update={"seed": 3}), ANN)
    await place.answered()
    assert len(place.service.jobs.queue()) == 1
    await place.close()


async def test_an_answer_is_a_request_like_any_other_to_the_limit(tmp_path: Path) -> None:
    place = Place(tmp_path, requests_per_minute=2)
    await place.open()
    await place.made()
    await place.answered()
    with pytest.raises(TooManyRequests):
        await place.service.submit(REQUEST, ANN)
    await place.close()


async def test_an_answer_is_not_how_long_a_job_takes(place: Place) -> None:
    await place.made()
    usual = place.service.jobs.usual_seconds()
    for _ in range(25):
        await place.answered()
    assert place.service.jobs.usual_seconds() == usual


async def test_a_key_stands_for_one_job_also_when_it_is_answered(place: Place) -> None:
    await place.made()
    first, again = [await place.service.submit(REQUEST, ANN, key="a key") for _ in range(2)]
    assert first == again
    assert await place.service.submit(REQUEST, ANN, key="another") != first


async def test_a_picture_to_start_from_must_still_be_ones_own(place: Place) -> None:
    image_id = await place.service.add_input(png(), ANN)
    request = REQUEST.model_copy(update={"init_image": image_id})
    await place.made(request)
    await place.answered(request)
    with pytest.raises(InvalidRequest):
        await place.service.submit(request, BOB)


def png() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (64, 64), "navy").save(buffer, "PNG")
    return buffer.getvalue()


async def test_programs_are_told_and_the_file_says_how_it_was_made(tmp_path: Path) -> None:
    asked = {"prompt": "a red circle", "seed": 7, "width": 128, "height": 128}
    async with studio(tmp_path, output_cache=True) as behind:
        await made_by_the_worker(behind, asked)
        job = (await behind.web.post("/v1/jobs", json=asked)).json()
        assert (job["state"], job["started"], job["result"]["receipt"]["cached"]) == ("done", None, True)
        answer = (await behind.web.post("/v1/txt2img", json=asked)).json()
        assert answer["receipt"]["cached"] is True
        with Image.open(behind.service.images.path(answer["id"])) as image:
            assert json.loads(image.info["receipt"])["cached"] is False
        theirs = {
            "steps": answer["receipt"]["steps"],
            "cfg_scale": answer["receipt"]["guidance_scale"],
            "sampler_name": answer["receipt"]["sampler"],
        }
        drawn = (await behind.web.post("/sdapi/v1/txt2img", json=asked | theirs)).json()
        info = json.loads(drawn["info"])
        assert info["receipts"][0]["cached"] is True and "cached" not in info["infotexts"][0]
        assert len(behind.worker.submitted) == 1


async def made_by_the_worker(behind: Behind, asked: dict[str, object]) -> None:
    job = (await behind.web.post("/v1/jobs", json=asked)).json()
    behind.finish(job["id"])
    await until(lambda: behind.service.jobs.get(job["id"]).state == "done")
