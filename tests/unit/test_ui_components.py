"""Parts of the page, tested without a browser: escaping of foreign text, and conversion of values."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from imagegen.errors import InvalidRequest
from imagegen.schema.base import User
from imagegen.schema.event_texts import describe_event
from imagegen.schema.events import Progress, Queued, Result
from imagegen.schema.pictures import PictureQuery
from imagegen.schema.receipt import Picture
from imagegen.schema.request import LoraUse
from imagegen.schema.start_size import fit_sides, fit_size
from imagegen.schema.tasks import TaskName
from tests.doubles import make_library, make_receipt, make_result
from tests.unit.in_process_studio import run_in_process_studio
from ui.app import render_readiness
from ui.components import picture_html, status_html
from ui.components.html import create_html
from ui.control_updates import build_control_updates
from ui.forms import parse_lines, parse_number
from ui.gradio_request import build_connection_check
from ui.messages import describe_problem, describe_result, format_time_left
from ui.schema_limits import get_field_schema
from ui.tabs.create import CreateTab
from ui.workspace.history import PictureHistory
from ui.workspace.page_state import PageState
from ui.workspace.size_controls import list_area_choices
from ui.workspace.stage import Stage

HOSTILE = '<img src=x onerror="alert(1)">${alert(2)}'


def test_a_prompt_never_becomes_part_of_the_page() -> None:
    picture = Picture(id="0" * 32, receipt=make_receipt(prompt=HOSTILE, negative_prompt=HOSTILE))
    for html in (
        picture_html.render_details(picture),
        picture_html.render_picture(picture, Path("a.png")),
        status_html.render_problem(HOSTILE),
    ):
        assert "<img src=x" not in html
        assert "&lt;img" in html


def test_details_name_the_variation_if_there_is_one() -> None:
    plain, varied = (
        picture_html.render_details(Picture(id="0" * 32, receipt=make_receipt(**fields))).partition("<details>")[0]
        for fields in ({}, {"variation_seed": 5, "variation_strength": 0.25})
    )
    assert "<dt>Variation seed</dt><dd>5</dd>" in varied and "<dt>Variation strength</dt><dd>0.25</dd>" in varied
    assert "Variation" not in plain


def test_progress_shows_step_percentage_and_time_left() -> None:
    html = status_html.render_progress(Progress(step=3, steps=20, seconds_left=12.4))
    for words in ("Step 3 of 20", "15%", "about 12 s left"):
        assert words in html


@pytest.mark.parametrize(("text", "value"), [("", None), (None, None), (" 42 ", 42), ("many", "many"), ("1.5", "1.5")])
def test_what_is_typed_is_a_number_or_stays_as_it_is(text: str | None, value: object) -> None:
    assert parse_number(text) == value


@pytest.mark.parametrize(
    ("text", "prompts"), [("", []), (None, []), ("a cat", ["a cat"]), (" a cat \r\n\n\ta dog\n", ["a cat", "a dog"])]
)
def test_what_is_typed_in_lines_is_a_list(text: str | None, prompts: list[str]) -> None:
    assert parse_lines(text) == prompts


def test_a_cached_picture_is_marked_and_appears_in_the_history_once() -> None:
    kept = Picture(id="0" * 32, receipt=make_receipt(cached=True))
    other = Picture(id="1" * 32, receipt=make_receipt())
    assert describe_result(make_result()) == "Done in 1.2 s"
    assert describe_result(Result(pictures=(kept,), latency_ms=1)) == "Kept from before"
    history = PictureHistory().prepend(make_result().pictures).prepend((other,)).prepend((kept,))
    assert history.pictures == (kept, other)


class SlowLibrary:
    """A library of pictures in which a job of the page ends while the pictures are read."""

    def __init__(self, state: PageState, old: Picture, new: Picture) -> None:
        self.state, self.found, self.new = state, [old], new

    async def search(self, query: PictureQuery, user: User) -> SimpleNamespace:
        found = [SimpleNamespace(id=picture.id, receipt=picture.receipt) for picture in self.found]
        if self.new not in self.found:
            self.found.insert(0, self.new)
            self.state.history = self.state.history.prepend((self.new,))
        return SimpleNamespace(pictures=found)


async def test_the_pictures_of_a_job_that_ends_while_the_page_is_refreshed_stay() -> None:
    old, new = (Picture(id=digit * 32, receipt=make_receipt()) for digit in "01")
    state = PageState(history=PictureHistory().prepend((old,)))
    service: Any = SimpleNamespace(pictures=SlowLibrary(state, old, new), images=SimpleNamespace(picture_path=Path))
    http: Any = SimpleNamespace(request=SimpleNamespace(state=SimpleNamespace(user=User(id="ann"))))
    with gr.Blocks():
        stage = Stage(service, create_html(""))
    updates = await stage.refresh(state, http)
    assert state.history.pictures == (new, old)
    assert new.id in updates[stage.strip]


def test_limits_come_from_the_request() -> None:
    assert (get_field_schema("steps")["minimum"], get_field_schema("steps")["maximum"]) == (1, 150)
    assert "Euler a" in get_field_schema("sampler")["enum"]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Queued(position=2), "Waiting, 2 ahead of you"),
        (Queued(position=0), "Waiting, you are next"),
        (Queued(position=0, warming_up=True), "Warming up"),
    ],
)
def test_a_queue_position_is_described_in_words(event: Queued, words: str) -> None:
    assert describe_event(event) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "about 1 s left"), (59, "about 59 s left"), (150, "about 2 min left")]
)
def test_the_time_left_is_rounded(seconds: float, words: str) -> None:
    assert format_time_left(seconds) == words


def test_an_unexpected_error_is_logged_and_its_details_are_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    assert (
        describe_problem(KeyError("secret")).text == "An unexpected error occurred. The studio's log has the details."
    )
    assert "secret" in caplog.text


@pytest.mark.parametrize(
    ("task", "size", "sides"),
    [
        ("image_to_image", (64, 64), (256, 256)),
        ("image_to_image", (400, 200), (360, 184)),
        ("image_to_image", (5000, 10), (512, 64)),
        ("inpainting", (400, 200), (400, 200)),
        ("inpainting", (401, 200), (360, 184)),
        ("inpainting", (1024, 512), (360, 184)),
    ],
)
def test_a_picture_keeps_the_proportions_of_its_start_image_within_what_the_model_can_do(
    tmp_path: Path, task: TaskName, size: tuple[int, int], sides: tuple[int, int]
) -> None:
    model = make_library(tmp_path).models.get("embedded").info
    assert fit_size(size, task, model) == sides


def test_sizes_follow_the_aspect_ratio_the_area_and_the_model(tmp_path: Path) -> None:
    model = make_library(tmp_path).models.get("embedded").info
    pixels = model.width * model.height
    assert fit_sides(3 / 2, pixels, model) == (312, 208) and fit_sides(9 / 16, pixels, model) == (192, 344)
    assert fit_sides(16 / 9, 4 * pixels, model) == (512, 384), "no side is longer than the model can make"
    assert [area for _, area in list_area_choices(model)] == [0.5, 1, 1.5, 2, 4]


def test_an_error_names_its_field_as_the_page_does() -> None:
    problem = describe_problem(InvalidRequest("init_image", "is required"))
    assert (problem.text, problem.field) == ("Add a start image.", "init_image")
    assert describe_problem(InvalidRequest("tool", "is unknown")).field == ""


def test_the_loras_of_a_model_are_shown_beside_those_that_may_be_chosen(tmp_path: Path) -> None:
    model = make_library(tmp_path).models.get("embedded").info
    assert build_control_updates(model, [], [])["loras"]["label"] == "LoRAs"
    model_with_lora = model.model_copy(update={"loras": (LoraUse(lora="<few>", weight=0.5),)})
    assert build_control_updates(model_with_lora, [], [])["loras"]["label"] == "LoRAs beside <few>"


async def test_the_header_names_the_workers_where_there_are_several(tmp_path: Path) -> None:
    async with run_in_process_studio(tmp_path / "several", workers=("cpu", "cpu:1")) as several:
        rendered = render_readiness(several.service)
        assert '<span>ready</span> <span class="workers">(cpu ready, cpu:1 warming up)</span>' in rendered
    async with run_in_process_studio(tmp_path / "alone") as alone:
        assert "<span>ready</span></p>" in render_readiness(alone.service)


async def test_a_list_of_models_that_arrives_late_selects_no_model_unless_the_selected_one_is_gone(
    tmp_path: Path,
) -> None:
    async with run_in_process_studio(tmp_path) as studio:
        with gr.Blocks(), gr.Tabs():
            create = CreateTab(studio.service)
        control = create.form.controls["model"]
        assert "value" not in (await create.refresh_choices("embedded"))[control]
        assert (await create.refresh_choices("gone"))[control]["value"] == "embedded"


async def test_a_handler_outside_of_gradios_queue_counts_as_connected() -> None:
    assert await build_connection_check()()
