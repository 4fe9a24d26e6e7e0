"""The parts of the page that need no browser: what comes from outside is escaped, and values become what they mean."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from PIL import Image

from imagegen.info import ModelStatus
from imagegen.schema import LoraUse, Picture, Progress, Queued, Result
from tests.doubles import library, receipt, result
from ui import cards, stage
from ui.forms import facts, field_schema, typed_lines, typed_number
from ui.tabs.generation import Shelf
from ui.tabs.image_to_image import sides_like
from ui.visitors import while_watched
from ui.wording import describe, done, message_of, time_left

HOSTILE = '<img src=x onerror="alert(1)">${alert(2)}'


def test_a_prompt_never_becomes_part_of_the_page() -> None:
    picture = Picture(id="0" * 32, receipt=receipt(prompt=HOSTILE, negative_prompt=HOSTILE))
    for html in (
        stage.details(picture, Path("a.png")),
        stage.finished(picture, Path("a.png")),
        stage.told("failed", HOSTILE),
    ):
        assert "<img src=x" not in html
        assert "&lt;img" in html


def test_progress_tells_step_percentage_and_time_left() -> None:
    html = stage.painting(Progress(step=3, steps=20, seconds_left=12.4))
    for words in ("Step 3 of 20", "15%", "about 12 s left"):
        assert words in html


@pytest.mark.parametrize(("text", "value"), [("", None), (None, None), (" 42 ", 42), ("many", "many"), ("1.5", "1.5")])
def test_what_is_typed_is_a_number_or_stays_as_it_is(text: str | None, value: object) -> None:
    assert typed_number(text) == value


@pytest.mark.parametrize(
    ("text", "prompts"), [("", []), (None, []), ("a cat", ["a cat"]), (" a cat \r\n\n\ta dog\n", ["a cat", "a dog"])]
)
def test_what_is_typed_in_lines_is_a_list(text: str | None, prompts: list[str]) -> None:
    assert typed_lines(text) == prompts


def test_a_picture_that_was_kept_is_told_so_and_lies_on_the_shelf_once() -> None:
    kept = Picture(id="0" * 32, receipt=receipt(cached=True))
    other = Picture(id="1" * 32, receipt=receipt())
    assert done(result()) == "Done in 1.2 s"
    assert done(Result(pictures=(kept,), latency_ms=1)) == "Kept from before"
    shelf = Shelf().with_new(result().pictures).with_new((other,)).with_new((kept,))
    assert shelf.pictures == (kept, other)


def test_limits_come_from_the_request() -> None:
    assert (field_schema("steps")["minimum"], field_schema("steps")["maximum"]) == (1, 150)
    assert "Euler a" in field_schema("sampler")["enum"]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Queued(position=2), "Waiting, 2 ahead of you"),
        (Queued(position=0), "Waiting, you are next"),
        (Queued(position=0, warming_up=True), "Warming up"),
    ],
)
def test_a_place_in_the_queue_is_told_in_words(event: Queued, words: str) -> None:
    assert describe(event) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "about 1 s left"), (59, "about 59 s left"), (150, "about 2 min left")]
)
def test_the_time_left_is_rounded(seconds: float, words: str) -> None:
    assert time_left(seconds) == words


def test_an_error_that_nobody_foresaw_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    assert message_of(KeyError("secret")) == "Something went wrong in the studio. Its log says what."
    assert "secret" in caplog.text


@pytest.mark.parametrize(("size", "sides"), [((64, 64), (256, 256)), ((400, 200), (360, 184)), ((5000, 10), (512, 64))])
def test_an_upload_keeps_its_proportions_within_what_the_model_can_do(
    tmp_path: Path, size: tuple[int, int], sides: tuple[int, int]
) -> None:
    Image.new("RGB", size).save(tmp_path / "upload.png")
    model = library(tmp_path).models.get("embedded").info
    assert sides_like(tmp_path / "upload.png", model) == sides


def test_what_a_model_wears_by_itself_is_told_beside_what_may_be_chosen(tmp_path: Path) -> None:
    model = library(tmp_path).models.get("embedded").info
    assert facts(model, [], [])["loras"]["label"] == "LoRAs"
    dressed = model.model_copy(update={"loras": (LoraUse(lora="<few>", weight=0.5),)})
    assert facts(dressed, [], [])["loras"]["label"] == "LoRAs beside <few>"
    assert "<dd>&lt;few&gt; 0.5</dd>" in cards.model(ModelStatus(model=dressed, state="on disk"))


async def test_events_that_nobody_watches_any_more_are_closed() -> None:
    closed = asyncio.Event()

    async def events() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await asyncio.sleep(60)
        finally:
            closed.set()

    watched = while_watched(events())
    assert await anext(watched) == 1
    await watched.aclose()
    assert closed.is_set()
