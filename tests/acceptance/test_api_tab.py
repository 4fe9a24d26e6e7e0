"""The code samples of the page, copied from there and run unchanged."""

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

from imagegen.access.keys import KeyStore
from tests.acceptance.conftest import (
    ROOT,
    SIDE,
    TIMEOUT_MILLISECONDS,
    Studio,
    open_page,
    open_window,
    wait_until_usable,
)
from tests.acceptance.test_page import (
    SIZES,
    current_tab,
    open_settings,
    open_tab,
    prompt,
    screenshot,
    seed_field,
    set_field,
    set_steps,
    switch_schemes,
)

HOSTILE = 'it\'s a "quoted" $HOME `id` $(id) !! \\n 日本語 </script> ${1 + 1}\nstar'
LANGUAGES = ("Python", "OpenAI", "curl", "JavaScript")
NODE_MODULES = ROOT / "tests/node/node_modules"


@pytest.fixture
def page(page: Page) -> Page:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    return page


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to run samples in, with a picture and the packages of `npm install`."""
    Image.new("RGB", (128, 128), (40, 160, 60)).save(tmp_path / "picture.png")
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    return tmp_path


def fill(page: Page, text: str, seed: str, steps: int = 3) -> None:
    set_steps(page, steps)
    prompt(page).fill(text)
    set_field(page, seed_field(page), seed)


def code(page: Page, language: str) -> str:
    """Returns what the button of the open tab copies."""
    current_tab(page).get_by_label(language, exact=True).check()
    first = {"curl": "curl ", "JavaScript": "// npm", "OpenAI": "# pip install openai"}.get(
        language, "# pip install gr"
    )
    expect(current_tab(page).locator(".code .cm-content")).to_contain_text(first)
    page.evaluate("navigator.clipboard.writeText('')")
    current_tab(page).locator(".code button").click()
    page.wait_for_function("navigator.clipboard.readText().then(text => text !== '')")
    copied: str = page.evaluate("navigator.clipboard.readText()")
    return copied


def open_code(page: Page) -> None:
    open_tab(page, "API")
    expect(current_tab(page).locator(".code .cm-content")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)


def run(language: str, code: str, folder: Path, token: str = "") -> dict[str, Any]:
    """Returns the receipt of the picture that the sample made."""
    (folder / "out.png").unlink(missing_ok=True)
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


def test_code_as_it_is_shown_makes_the_picture_of_the_form(page: Page, folder: Path) -> None:
    fill(page, HOSTILE, seed="77")
    open_code(page)
    for language in LANGUAGES:
        receipt = run(language, code(page, language), folder)
        assert (receipt["prompt"], receipt["seed"], receipt["steps"]) == (HOSTILE, 77, 3), language


def test_code_for_image_to_image_starts_from_a_file(page: Page, folder: Path) -> None:
    open_tab(page, "Image to image")
    fill(page, HOSTILE, seed="78")
    open_code(page)
    expect(current_tab(page).locator(".notes").last).to_contain_text("Image to image")
    for language in LANGUAGES:
        receipt = run(language, code(page, language), folder)
        assert (receipt["prompt"], receipt["seed"], receipt["steps"]) == (HOSTILE, 78, 3), language
        assert receipt["strength"] == 0.7 and receipt["init_image"] is not None


def test_loras_and_sizes_are_in_the_code(page: Page, folder: Path) -> None:
    open_tab(page, "Image to image")
    fill(page, "a city at night, neon style", seed="9")
    open_settings(page)
    current_tab(page).get_by_label("number input for Width").fill("160")
    current_tab(page).get_by_label("number input for Width").press("Tab")
    current_tab(page).get_by_label("LoRAs").click()
    page.get_by_role("option", name="neon", exact=False).click()
    expect(current_tab(page).get_by_label("number input for neon")).to_have_value("0.8")
    page.keyboard.press("Escape")
    open_code(page)
    for language in ("OpenAI", "curl"):
        receipt = run(language, code(page, language), folder)
        assert (receipt["width"], receipt["height"]) == (160, SIDE), language
        assert [(lora["lora"], lora["weight"]) for lora in receipt["loras"]] == [("neon", 0.8)], language


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


def test_code_follows_the_form_and_its_tool(page: Page) -> None:
    open_code(page)
    expect(current_tab(page).locator(".code .cm-content")).to_contain_text("a yellow boat on the sea at noon")
    open_tab(page, "Image to image")
    prompt(page).fill("a yellow star")
    page.get_by_role("tab", name="Models").click()
    expect(page.locator("studio-models")).to_be_visible()
    open_code(page)
    expect(current_tab(page).locator(".notes").last).to_contain_text("Image to image")
    expect(current_tab(page).locator(".code .cm-content")).to_contain_text("a yellow star")
    expect(current_tab(page).locator(".code .cm-content")).to_contain_text("/img2img")
    open_tab(page, "Text to image")
    open_code(page)
    expect(current_tab(page).locator(".code .cm-content")).to_contain_text("/txt2img")


def test_a_request_that_would_be_refused_is_shown_all_the_same(page: Page) -> None:
    fill(page, "a green star", seed="many")
    open_code(page)
    expect(current_tab(page).get_by_role("alert")).to_have_text("The studio would refuse this: seed: must be a number")
    expect(current_tab(page).locator(".code .cm-content")).to_contain_text('seed="many"')
    screenshot(page, "api-refused")
    open_tab(page, "Text to image")
    seed_field(page).fill("7")
    open_code(page)
    expect(current_tab(page).get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize("device", SIZES)
def test_code_fits_every_screen_in_both_schemes(browser: Browser, studio: Studio, device: str) -> None:
    width, height = SIZES[device]
    errors: list[str] = []
    with open_window(browser, width, height, color_scheme="dark") as page:
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        open_page(page, studio.url)
        prompt(page).fill("a sailing boat on a lake at sunset, watercolor, " * 5)
        open_code(page)
        expect(current_tab(page).locator(".code .cm-content")).to_contain_text("a sailing boat")
        for scheme in switch_schemes(page):
            assert page.evaluate("document.documentElement.scrollWidth") == width
            screenshot(page, f"{device}-{scheme}-api")
    assert errors == []


@pytest.fixture(scope="module")
def key(keys: KeyStore) -> str:
    """The key of an administrator."""
    return keys.add("ali<b>ce", is_administrator=True)


@pytest.fixture
def signed_in(browser: Browser, keys_studio: Studio, key: str) -> Iterator[Page]:
    with open_window(browser, *SIZES["phone"], permissions=["clipboard-read", "clipboard-write"]) as page:
        page.goto(keys_studio.url)
        page.get_by_label("key of this studio").fill(key)
        screenshot(page, "sign-in")
        page.get_by_role("button", name="Sign in").click()
        wait_until_usable(page)
        yield page


def test_code_carries_the_token_where_users_sign_in(signed_in: Page, key: str, folder: Path) -> None:
    fill(signed_in, HOSTILE, seed="79")
    open_code(signed_in)
    expect(current_tab(signed_in).locator(".notes").last).to_contain_text("STUDIO_TOKEN is your key of this studio.")
    for language in LANGUAGES:
        receipt = run(language, code(signed_in, language), folder, token=key)
        assert (receipt["prompt"], receipt["seed"]) == (HOSTILE, 79), language


def test_who_is_signed_in_can_sign_out(signed_in: Page) -> None:
    expect(signed_in.locator(".visitor span")).to_have_text("ali<b>ce")
    assert signed_in.evaluate("document.documentElement.scrollWidth") == 390
    screenshot(signed_in, "signed-in")
    signed_in.get_by_role("button", name="Sign out").click()
    expect(signed_in.get_by_label("key of this studio")).to_be_visible()
    signed_in.reload()
    expect(signed_in.get_by_label("key of this studio")).to_be_visible()


def test_nobody_is_named_where_nobody_signs_in(page: Page) -> None:
    expect(page.locator(".badge p")).to_contain_text("ready", timeout=TIMEOUT_MILLISECONDS)
    expect(page.get_by_role("button", name="Sign out")).to_have_count(0)


def test_the_endpoints_for_gradio_client_are_listed(page: Page) -> None:
    open_code(page)
    current_tab(page).get_by_role("button", name="Endpoints for gradio_client").click()
    expect(page.get_by_text("MCP documentation")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
