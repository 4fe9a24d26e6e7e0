"""The rules of axe-core for people who use a keyboard or a screen reader, on the page in both colour schemes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.acceptance.conftest import (
    ROOT,
    TIMEOUT_MILLISECONDS,
    Studio,
    empty_studio,
    open_page,
    open_window,
    wait_until_painted,
)
from tests.acceptance.test_library_page import PROMPTS, make_picture, open_library, open_picture, tiles
from tests.acceptance.test_page import SIZES, TOOLS, open_tab, switch_schemes

AXE = ROOT / "tests" / "node" / "node_modules" / "axe-core" / "axe.min.js"


# The rules that depend on the colour scheme.
COLOR_RULES = ("color-contrast",)


def list_violations(page: Page, *selectors: str, rules: Sequence[str] = ()) -> list[str]:
    """Returns the rules that the parts of the page break, each with the elements that break it; by default of all."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    wait_until_painted(page)
    options = {"runOnly": list(rules)} if rules else {}
    arguments = [[[each] for each in selectors], options]
    found: dict[str, Any] = page.evaluate("([include, options]) => axe.run({include}, options)", arguments)
    assert found["passes"]
    return [
        f"{rule['id']}: {node['target']} {node.get('failureSummary', '')}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_library_and_its_viewer_break_no_rule(browser: Browser, studio: Studio, scheme: str) -> None:
    empty_studio(studio)
    for seed, text in enumerate(PROMPTS):
        made = make_picture(studio, prompt=text, seed=seed)
    make_picture(studio, "img2img", prompt="a lake at night", init_image=made["id"])
    with open_window(browser, color_scheme=scheme) as page:
        open_page(page, studio.url)
        open_library(page)
        expect(tiles(page)).to_have_count(4)
        expect(page.locator(".library-use")).to_contain_text("4 pictures")
        assert list_violations(page, "studio-library") == []
        page.get_by_label(f"Select: {PROMPTS[0]}").check()
        page.get_by_role("button", name="★ Favourites").click()
        expect(page.locator(".library-end")).to_have_text("No picture fits.")
        assert list_violations(page, "studio-library") == []
        page.get_by_role("button", name="★ Favourites").click()
        page.get_by_label(f"Select: {PROMPTS[0]}").check()
        assert list_violations(page, "studio-library") == []
        page.get_by_role("button", name="Clear selection").click()
        viewer = open_picture(page, "a lake at night")
        expect(viewer.get_by_role("img", name="The start image")).to_be_visible()
        viewer.get_by_text("Receipt").click()
        viewer.get_by_role("button", name="Favourite").click()
        assert list_violations(page, "dialog.viewer") == []
        viewer.get_by_role("button", name="Delete").click()
        expect(viewer.get_by_role("button", name="Undo")).to_be_visible()
        assert list_violations(page, "dialog.viewer") == []


@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_no_tab_breaks_a_rule(browser: Browser, studio: Studio, device: str) -> None:
    empty_studio(studio)
    make_picture(studio, prompt=PROMPTS[0])
    with open_window(browser, *SIZES[device], color_scheme="dark") as page:
        open_page(page, studio.url)
        page.get_by_role("button", name="Large view").click()
        expect(page.locator("dialog.viewer .viewer-prompt")).to_have_text(PROMPTS[0])
        assert list_violations(page, "dialog.viewer") == []
        page.keyboard.press("Escape")
        for scheme in switch_schemes(page):
            for tab in (*TOOLS, "Library", "Models", "LoRAs", "API"):
                show_tab(page, tab)
                rules = () if scheme == "dark" else COLOR_RULES
                assert list_violations(page, "body", rules=rules) == [], (scheme, tab)


def show_tab(page: Page, tab: str) -> None:
    """Opens a tab, and waits until it shows what it is for."""
    if tab in TOOLS:
        open_tab(page, tab)
    else:
        page.get_by_role("tab", name=tab).click()
        expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
    for waiting in ("studio-library .tile", "studio-models .resource-card", "studio-loras .resource-card"):
        if f"studio-{tab.lower()}" in waiting:
            expect(page.locator(waiting).first).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    if tab == "API":
        expect(page.locator(".cm-line").filter(visible=True).first).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
