"""The languages of the page: which one a request gets, and that the catalogues have all texts."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from imagegen.errors import ImageGenError
from imagegen.languages.catalogue import ENGLISH, LANGUAGES, Entry, Language, read_catalogue
from imagegen.languages.messages import compile_template, describe_field_problem, translate_message
from imagegen.languages.requested import choose_language
from imagegen.languages.translation import PLACEHOLDER, translate, use_language
from imagegen.schema.event_texts import describe_event
from imagegen.schema.events import Loading, Progress, Queued, Started
from imagegen.schema.field_types import MAX_SEED
from imagegen.schema.models import ModelInfo
from imagegen.schema.validation import fill_in_defaults, parse_request
from tests.doubles import make_library
from tests.unit.in_process_studio import run_in_process_studio
from tests.unit.page_texts import blank_values, collect_problems, collect_texts
from ui.app import build_ui

TRANSLATED = [language for language in LANGUAGES.values() if language is not ENGLISH]
GERMAN = LANGUAGES["de"]
# CLDR's plural categories of the languages that tell apart one and several.
FORMS = {"de": {"one", "other"}, "es": {"one", "other"}, "fr": {"one", "other"}, "pt": {"one", "other"}}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """All texts of the page, and the texts of the catalogue that are the problems which errors name."""

    async def describe_page() -> dict[str, Any]:
        async with run_in_process_studio(tmp_path_factory.mktemp("languages")) as studio:
            return dict(build_ui(studio.service).config)

    found = set(collect_texts(asyncio.run(describe_page())))
    known = [text for language in TRANSLATED for text in read_catalogue(language)]
    patterns = {text: compile_template(text) for text in known}
    problems = set(collect_problems())
    for problem in problems:
        said = problem.replace("{}", "7")
        matching = [text for text, pattern in patterns.items() if pattern.fullmatch(said)]
        found.add(max(matching, key=lambda text: len(blank_values(text)), default=problem))
    return found


@pytest.mark.parametrize("language", TRANSLATED, ids=lambda language: language.code)
def test_each_language_has_each_text_and_no_other(language: Language, texts: set[str]) -> None:
    known = read_catalogue(language)
    missing = dict.fromkeys(sorted(texts - known.keys()), "")
    assert not missing, f"add these to {language.code}.json:\n{json.dumps(missing, ensure_ascii=False, indent=2)}"
    stale = sorted(known.keys() - texts)
    assert not stale, f"remove these from {language.code}.json:\n{json.dumps(stale, ensure_ascii=False, indent=2)}"


@pytest.mark.parametrize("language", TRANSLATED, ids=lambda language: language.code)
def test_translations_have_the_values_of_their_texts(language: Language) -> None:
    for text, entry in read_catalogue(language).items():
        for form in list_forms(entry):
            assert form.strip() == form and form
            assert set(PLACEHOLDER.findall(form)) == set(PLACEHOLDER.findall(text)), form
        if not isinstance(entry, str):
            assert set(entry) == FORMS[language.code] and "{count}" in text


@pytest.mark.parametrize("language", TRANSLATED, ids=lambda language: language.code)
def test_catalogues_are_sorted(language: Language) -> None:
    assert list(read_catalogue(language)) == sorted(read_catalogue(language))


@pytest.mark.parametrize(
    ("cookie", "accepted", "code"),
    [
        (None, "", "en"),
        (None, "de-DE,de;q=0.9,en;q=0.8", "de"),
        (None, "nl, en;q=0.5, ja;q=0.7", "ja"),
        (None, "sv", "en"),
        (None, "pt-BR", "pt"),
        (None, "zh-CN,zh;q=0.9", "zh"),
        (None, "de;q=0, fr;q=0.1", "fr"),
        (None, "en-GB,en;q=0.9,de;q=0.8", "en"),
        (None, ";;q=x,,", "en"),
        ("ko", "de-DE", "ko"),
        ("klingon", "es", "es"),
    ],
)
def test_the_cookie_decides_and_then_the_browser(cookie: str | None, accepted: str, code: str) -> None:
    assert choose_language(cookie, accepted).code == code


def test_a_text_has_its_values_and_keeps_other_braces() -> None:
    with use_language(GERMAN):
        assert translate("Details of {name}", name="{count}") == "Details zu {count}"
        assert translate("No such text: {name} {other}", name="a'b") == "No such text: a'b {other}"
    assert translate("Details of {name}", name="neon") == "Details of neon"


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"prompt": "a <hypernet:b>"},
        {"prompt": "a <lora:b:1:2>"},
        {"prompt": "a <lora:b:much>"},
        {"prompt": "a", "negative_prompt": "<lora:b>"},
        {"prompt": "a\0b"},
        {"prompt": "a" * 5000},
        {"prompt": "a", "width": 100},
        {"prompt": "a", "width": 8},
        {"prompt": "a", "steps": 1000},
        {"prompt": "a", "steps": 1.5},
        {"prompt": "a", "seed": "many"},
        {"prompt": "a", "seed": MAX_SEED + 1},
        {"prompt": "a", "sampler": "none"},
        {"prompt": "a", "strength": 2},
        {"prompt": "a", "strength": 0.5},
        {"prompt": "a", "batch_size": 4, "more_prompts": ["b", "c"]},
        {"prompt": "a", "batch_size": 8, "more_prompts": ["b"]},
        {"prompt": "a AND b"},
        {"prompt": "a", "more_prompts": ["b"] * 9},
        {"prompt": "a", "loras": [{"lora": "neon", "weight": 9}]},
        {"prompt": "a", "loras": 5},
        {"prompt": "a", "loras": ["neon"]},
        {"prompt": "a", "init_image": "x"},
        {"prompt": "a", "width": 2048},
        {"prompt": "a", "step_cache": 0.5},
        {"prompt": "a", "guidance_scale": 3},
    ],
)
@pytest.mark.parametrize("language", TRANSLATED, ids=lambda language: language.code)
def test_refusals_of_requests_are_translated(values: dict[str, object], language: Language, tmp_path: Path) -> None:
    with pytest.raises(ImageGenError) as caught:
        fill_in_defaults(parse_request(values), get_poorer_model(tmp_path), seed=1)
    problem = caught.value.data["problem"]
    assert isinstance(problem, str)
    with use_language(language):
        translated = translate_message(problem)
    assert translated != problem and not has_english(translated), translated


@pytest.mark.parametrize(
    "event",
    [
        Queued(position=0),
        Queued(position=3),
        Queued(position=0, warming_up=True),
        Queued(position=2, warming_up=True),
        Started(),
        Loading(model="Mine"),
        Progress(step=1, steps=4),
    ],
)
@pytest.mark.parametrize("language", TRANSLATED, ids=lambda language: language.code)
def test_events_are_translated(event: Queued | Started | Loading | Progress, language: Language) -> None:
    with use_language(language):
        assert translate_message(describe_event(event)) != describe_event(event)


def test_a_message_keeps_what_is_not_known() -> None:
    with use_language(GERMAN):
        assert translate_message("Something of something else") == "Something of something else"
        assert translate_message("The worker is unavailable: the studio is shutting down.") == (
            "Der Worker ist nicht verfügbar: das Studio wird beendet."
        )
        assert translate_message("width: must be a number") == "width muss eine Zahl sein."
        assert translate_message("cuda:0: The job was cancelled.") == "cuda:0: Der Auftrag wurde abgebrochen."
    assert translate_message("The job was cancelled.") == "The job was cancelled."


def test_a_problem_is_said_of_its_field() -> None:
    with use_language(LANGUAGES["ja"]):
        assert describe_field_problem("幅", "must be a number") == "幅は数値にしてください。"
        assert describe_field_problem("LoRA", "neon is there twice") == "LoRA\N{FULLWIDTH COLON}neon が 2 回あります。"
    assert describe_field_problem("Width", "must be a number") == "Width must be a number."


async def test_the_apis_answer_in_english(tmp_path: Path) -> None:
    async with run_in_process_studio(tmp_path) as studio:
        headers = {"Accept-Language": "de-DE"}
        answer = await studio.client_without_token.post(
            "/v1/txt2img", json={"prompt": "x", "steps": 0}, headers=headers
        )
        assert answer.json()["error"]["message"] == "steps: must be between 1 and 150"
        page = build_ui(studio.service)
        english = page.get_api_info()
        with use_language(GERMAN):
            assert page.get_api_info() == english


async def test_the_page_that_gradio_sends_is_translated(tmp_path: Path) -> None:
    async with run_in_process_studio(tmp_path) as studio:
        page = build_ui(studio.service)
        english: dict[str, Any] = dict(page.config)
        with use_language(GERMAN):
            config: dict[str, Any] = dict(page.config)
        buttons = {each["props"]["value"] for each in config["components"] if each["type"] == "button"}
        assert "Generieren" in buttons and "Generate" not in buttons
        assert config["studio_language"]["texts"]["Generate"] == "Generieren"
        assert english["studio_language"]["texts"] == {}


async def test_the_sign_in_page_speaks_the_language_of_the_browser(tmp_path: Path) -> None:
    async with run_in_process_studio(tmp_path, access="keys") as studio:
        for headers, tag, text in (
            ({"Accept-Language": "de-DE"}, "de", "mit: Schlüssel dieses Studios"),
            ({"Cookie": "studio_language=pt", "Accept-Language": "de-DE"}, "pt-BR", "Entre para gerar imagens."),
            ({}, "en", "Sign in to generate pictures."),
        ):
            page = (await studio.client_without_token.get("/login", headers=headers)).text
            assert f'<html lang="{tag}">' in page and text.lower() in page.lower()


def get_poorer_model(folder: Path) -> ModelInfo:
    """Returns the embedded model as one that can do less."""
    library = make_library(folder)
    info = library.models.get(library.models.default_id).info
    return info.model_copy(update={"can": info.can.model_copy(update={"step_cache": False, "guidance": "none"})})


def list_forms(entry: Entry) -> list[str]:
    return [entry] if isinstance(entry, str) else list(entry.values())


def has_english(text: str) -> bool:
    """Returns whether a text has one of the words that English problems begin with."""
    return any(word in text.lower().split() for word in ("must", "cannot", "should", "the", "is"))
