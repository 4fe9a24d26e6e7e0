"""The code that the page shows, copied from there and run as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from imagegen.access.keys import Keys
from tests.acceptance.conftest import ROOT, SIDE, Studio, running_studio
from tests.acceptance.test_page import PATIENCE, SIZES, desk, prompt, screenshot, set_steps

HOSTILE = 'it\'s a "quoted" $HOME `id` $(id) !! \\n 日本語 </script> ${1 + 1}\nstar'
LANGUAGES = ("Python", "OpenAI", "curl", "JavaScript")
NODE_MODULES = ROOT / "tests/node/node_modules"


@pytest.fixture
def page(page: Page) -> Page:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    return page


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the code is run: there is a picture, and what `npm install` would bring."""
    Image.new("RGB", (128, 128), (40, 160, 60)).save(tmp_path / "picture.png")
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    return tmp_path


def fill(page: Page, text: str, seed: str, steps: int = 3) -> None:
    set_steps(page, steps)
    prompt(page).fill(text)
    desk(page).get_by_label("Seed").fill(seed)


def code(page: Page, language: str) -> str:
    """What the button of the tab that is open copies."""
    desk(page).get_by_label(language, exact=True).check()
    first = {"curl": "curl ", "JavaScript": "// npm", "OpenAI": "# pip install openai"}.get(
        language, "# pip install gr"
    )
    expect(desk(page).locator(".code .cm-content")).to_contain_text(first)
    page.evaluate("navigator.clipboard.writeText('')")
    desk(page).locator(".code button").click()
    page.wait_for_function("navigator.clipboard.readText().then(text => text !== '')")
    copied: str = page.evaluate("navigator.clipboard.readText()")
    return copied


def open_code(page: Page) -> None:
    page.get_by_role("tab", name="API").click()
    expect(desk(page).locator(".code .cm-content")).to_be_visible(timeout=PATIENCE)


def run(language: str, code: str, folder: Path, token: str = "") -> dict[str, Any]:
    """The receipt of the picture that came of it."""
    program = folder / ("program.mjs" if language == "JavaScript" else "program")
    program.write_text(code, encoding="utf-8")
    interpreter = {"curl": "bash", "JavaScript": "node"}.get(language, sys.executable)
    environment = os.environ | {"STUDIO_TOKEN": token, "GRADIO_ANALYTICS_ENABLED": "False"}
    done = subprocess.run(
        [interpreter, program], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    match language:
        case "Python":
            return receipt_in(Path(done.stdout.splitlines()[-1].partition(" {")[0]))
        case "JavaScript":
            address = done.stdout.splitlines()[0].partition(" {")[0]
            return receipt_in(Path(address.partition("/file=")[2]))
        case _:
            return receipt_in(folder / "out.png")


def receipt_in(file: Path) -> dict[str, Any]:
    with Image.open(file) as picture:
        receipt: dict[str, Any] = json.loads(picture.info["receipt"])
        return receipt


@pytest.mark.parametrize("language", LANGUAGES)
def test_code_as_it_is_shown_makes_the_picture_of_the_form(page: Page, folder: Path, language: str) -> None:
    fill(page, HOSTILE, seed="77")
    open_code(page)
    receipt = run(language, code(page, language), folder)
    assert (receipt["prompt"], receipt["seed"], receipt["steps"]) == (HOSTILE, 77, 3)


@pytest.mark.parametrize("language", LANGUAGES)
def test_code_for_image_to_image_starts_from_a_file(page: Page, folder: Path, language: str) -> None:
    page.get_by_role("tab", name="Image to image").click()
    fill(page, HOSTILE, seed="78")
    open_code(page)
    expect(desk(page).get_by_label("Image to image")).to_be_checked()
    receipt = run(language, code(page, language), folder)
    assert (receipt["prompt"], receipt["seed"], receipt["steps"]) == (HOSTILE, 78, 3)
    assert receipt["strength"] == 0.7 and receipt["init_image"] is not None


@pytest.mark.parametrize("language", ["OpenAI", "curl"])
def test_loras_and_sizes_are_in_the_code(page: Page, folder: Path, language: str) -> None:
    page.get_by_role("tab", name="Image to image").click()
    fill(page, "a city at night, neon style", seed="9")
    desk(page).get_by_label("number input for Width").fill("160")
    desk(page).get_by_label("number input for Width").press("Tab")
    desk(page).get_by_label("LoRAs").click()
    page.get_by_role("option", name="neon", exact=False).click()
    expect(desk(page).get_by_label("number input for Weight of neon")).to_have_value("0.8")
    page.keyboard.press("Escape")
    open_code(page)
    receipt = run(language, code(page, language), folder)
    assert (receipt["width"], receipt["height"]) == (160, SIDE)
    assert [(lora["lora"], lora["weight"]) for lora in receipt["loras"]] == [("neon", 0.8)]


def test_code_says_only_what_was_chosen(page: Page, studio: Studio) -> None:
    prompt(page).fill("a green star")
    open_code(page)
    assert code(page, "Python") == (
        "# pip install gradio_client\n"
        "from gradio_client import Client\n\n"
        f'studio = Client("{studio.url}")\n'
        "image, receipt = studio.predict(\n"
        '    prompt="a green star",\n'
        '    api_name="/txt2img",\n'
        ")\n"
        "print(image, receipt)"
    )


def test_code_follows_the_form_and_the_tab_that_was_open_last(page: Page) -> None:
    open_code(page)
    expect(desk(page).locator(".code .cm-content")).to_contain_text("a yellow boat on the sea at noon")
    page.get_by_role("tab", name="Image to image").click()
    prompt(page).fill("a yellow star")
    page.get_by_role("tab", name="Models").click()
    open_code(page)
    expect(desk(page).get_by_label("Image to image")).to_be_checked()
    expect(desk(page).locator(".code .cm-content")).to_contain_text("a yellow star")
    desk(page).get_by_label("Text to image").check()
    expect(desk(page).locator(".code .cm-content")).to_contain_text("a yellow boat on the sea at noon")


def test_a_request_that_would_be_refused_is_shown_all_the_same(page: Page) -> None:
    fill(page, "a green star", seed="many")
    open_code(page)
    expect(desk(page).get_by_role("alert")).to_have_text("Refused as it stands: seed: must be a number")
    expect(desk(page).locator(".code .cm-content")).to_contain_text('seed="many"')
    screenshot(page, "api-refused")
    page.get_by_role("tab", name="Text to image").click()
    desk(page).get_by_label("Seed").fill("7")
    open_code(page)
    expect(desk(page).get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", SIZES)
def test_code_fits_every_screen_in_both_schemes(browser: Browser, studio: Studio, device: str, scheme: str) -> None:
    width, height = SIZES[device]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(studio.url)
    prompt(page).fill("a sailing boat on a lake at sunset, watercolor, " * 5)
    open_code(page)
    expect(desk(page).locator(".code .cm-content")).to_contain_text("a sailing boat")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    screenshot(page, f"{device}-{scheme}-api")
    page.close()
    assert errors == []


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Studio, str]]:
    """A studio that asks for a key, and a key."""
    folder = tmp_path_factory.mktemp("locked")
    key = Keys(folder / "data" / "keys.json").add("ali<b>ce", is_administrator=True)
    with running_studio(folder, "--access", "keys") as studio:
        yield studio, key


@pytest.fixture
def signed_in(browser: Browser, locked: tuple[Studio, str]) -> Iterator[Page]:
    studio, key = locked
    context = browser.new_context(viewport={"width": 390, "height": 844})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(studio.url)
    page.get_by_label("key of this studio").fill(key)
    screenshot(page, "sign-in")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("tab", name="Text to image")).to_be_visible()
    yield page
    context.close()


@pytest.mark.parametrize("language", LANGUAGES)
def test_code_carries_the_token_where_users_sign_in(
    signed_in: Page, locked: tuple[Studio, str], folder: Path, language: str
) -> None:
    fill(signed_in, HOSTILE, seed="79")
    open_code(signed_in)
    expect(desk(signed_in).locator(".notes").last).to_contain_text("STUDIO_TOKEN is your key of this studio.")
    receipt = run(language, code(signed_in, language), folder, token=locked[1])
    assert (receipt["prompt"], receipt["seed"]) == (HOSTILE, 79)


def test_who_is_signed_in_can_sign_out(signed_in: Page) -> None:
    expect(signed_in.locator(".visitor span")).to_have_text("ali<b>ce")
    assert signed_in.evaluate("document.documentElement.scrollWidth") == 390
    screenshot(signed_in, "signed-in")
    signed_in.get_by_role("button", name="Sign out").click()
    expect(signed_in.get_by_label("key of this studio")).to_be_visible()
    signed_in.reload()
    expect(signed_in.get_by_label("key of this studio")).to_be_visible()


def test_nobody_is_named_where_nobody_signs_in(page: Page) -> None:
    expect(page.locator(".badge p")).to_contain_text("ready", timeout=PATIENCE)
    expect(page.get_by_role("button", name="Sign out")).to_have_count(0)
