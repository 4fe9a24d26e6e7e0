"""The page in the language of its user, in a real browser."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from playwright.sync_api import Browser, Page, expect

from imagegen.languages.catalogue import LANGUAGES, Language, read_catalogue
from imagegen.languages.messages import describe_field_problem, translate_message
from imagegen.languages.translation import translate, use_language
from tests.acceptance.conftest import TIMEOUT_MILLISECONDS, Studio, empty_studio, open_window, wait_until_painted
from tests.acceptance.test_library_page import make_picture

# Messages of the REST API that the scripts show.
MESSAGES = [
    "The job was cancelled.",
    "model: must be a name",
    "model: 'a' cannot be used: it is not a model in diffusers format: it has no model_index.json; it has several"
    " files; name one of them: a, b",
    "You sent more than 30 requests in a minute. Please try again in 5 seconds.",
    "Only an administrator of this studio may delete models.",
    "loras: neon was made for SDXL, and the model embedded is Stable Diffusion",
    "a/b cannot be fetched from the Hub: the Hub answered 500; please try again",
    "Something else of nobody.",
]
# The texts that people see or that screen readers say.
LIST_TEXTS = """() => {
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const element = node.nodeType === Node.TEXT_NODE ? node.parentElement : node;
    if (!element.checkVisibility() || element.closest("script, style, code, pre, .cm-editor")) continue;
    if (node === element) texts.push(...["aria-label", "title", "placeholder", "alt"].map((name) => node.getAttribute(name)));
    else texts.push(node.textContent);
  }
  return texts.filter(Boolean).map((text) => text.trim()).filter(Boolean);
}"""  # noqa: E501


def open_in_language(page: Page, studio: Studio) -> None:
    page.goto(studio.url)
    expect(page.locator("button.generate")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    wait_until_painted(page)


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()
    expect(page.get_by_role("tab", name=name, exact=True)).to_have_attribute("aria-selected", "true")
    wait_until_painted(page)


def find_english(texts: Sequence[str], language: Language) -> list[str]:
    """Returns those of the texts that are English, although the language has a translation."""
    translations = {entry for entry in read_catalogue(language).values() if isinstance(entry, str)}
    with use_language(language):
        return [text for text in texts if text not in translations and translate_message(text) != text]


@pytest.mark.parametrize(("locale", "code"), [("de-DE", "de"), ("ja-JP", "ja")])
def test_the_page_speaks_the_language_of_the_browser(browser: Browser, studio: Studio, locale: str, code: str) -> None:
    empty_studio(studio)
    make_picture(studio, prompt="a red boat", seed=3)
    language = LANGUAGES[code]
    with use_language(language):
        tabs = [translate(name) for name in ("Library", "Models", "LoRAs", "API", "Create")]
        refusal = describe_field_problem(
            translate("Prompt"),
            "must not contain AND in capitals, because prompts cannot be combined with the model embedded",
        )
        advanced, ready, details = (
            translate("Advanced"),
            translate("ready"),
            translate("Details of {name}", name="Embedded"),
        )
        image_to_image, generate = translate("Picture"), translate("Generate")
    with open_window(browser, locale=locale) as page:
        open_in_language(page, studio)
        assert page.evaluate("document.documentElement.lang") == language.tag
        with use_language(language):
            translated = [translate_message(message) for message in MESSAGES]
        assert page.evaluate("messages => messages.map(StudioLanguage.translateMessage)", MESSAGES) == translated
        expect(page.locator(".badge p")).to_have_text(ready, timeout=TIMEOUT_MILLISECONDS)
        expect(page.locator(".details dl")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
        page.get_by_role("button", name=advanced).click()
        assert find_english(page.evaluate(LIST_TEXTS), language) == []
        page.locator(".workspace .prompt textarea").fill("a boat AND a car")
        page.get_by_role("button", name=generate, exact=True).click()
        expect(page.locator(".field-problem")).to_have_text(refusal, timeout=TIMEOUT_MILLISECONDS)
        page.locator(".workspace .prompt textarea").fill("a green car")
        page.get_by_role("button", name=generate, exact=True).click()
        expect(page.locator(".status .done")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
        assert find_english(page.evaluate(LIST_TEXTS), language) == []
        page.get_by_role("tab", name=image_to_image, exact=True).click()
        wait_until_painted(page)
        assert find_english(page.evaluate(LIST_TEXTS), language) == []
        for tab in tabs:
            open_tab(page, tab)
            if tab == tabs[0]:
                expect(page.locator(".tile")).to_have_count(2, timeout=TIMEOUT_MILLISECONDS)
            elif tab == tabs[1]:
                page.locator("[data-id=embedded] [data-action=details]").click()
                expect(page.get_by_role("dialog", name=details)).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
                assert find_english(page.evaluate(LIST_TEXTS), language) == []
                page.keyboard.press("Escape")
            assert find_english(page.evaluate(LIST_TEXTS), language) == []


def test_another_language_can_be_chosen_with_the_keyboard_and_is_kept(browser: Browser, studio: Studio) -> None:
    empty_studio(studio)
    with open_window(browser, locale="de-DE") as page:
        open_in_language(page, studio)
        choice = page.get_by_role("combobox", name="Sprache")
        expect(choice.get_by_role("option")).to_have_text([language.name for language in LANGUAGES.values()])
        # What is in the form is saved once it has been restored, and after each change.
        page.wait_for_function("localStorage.getItem('studio-form') !== null", timeout=TIMEOUT_MILLISECONDS)
        saved = page.evaluate("localStorage.getItem('studio-form')")
        page.locator(".workspace .prompt textarea").fill("a green car")
        page.wait_for_function("saved => localStorage.getItem('studio-form') !== saved", arg=saved)
        choice.press("End")
        expect(choice).to_have_value("ko")
        with page.expect_navigation():
            choice.press("Enter")
        expect(page.get_by_role("button", name="생성", exact=True)).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
        expect(page.locator(".workspace .prompt textarea")).to_have_value("a green car", timeout=TIMEOUT_MILLISECONDS)
        expect(page.get_by_role("combobox", name="언어")).to_have_value("ko")
        page.reload()
        expect(page.get_by_role("button", name="생성", exact=True)).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
        assert page.evaluate("document.documentElement.lang") == "ko"


@pytest.mark.parametrize("code", ["de", "fr"])
def test_long_words_fit_a_phone(browser: Browser, studio: Studio, code: str) -> None:
    with open_window(browser, 390, 844, locale=code) as page:
        open_in_language(page, studio)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        tabs = page.locator(".doors > .tab-wrapper .tab-container").get_by_role("tab")
        expect(tabs.filter(visible=True)).to_have_count(5)
        badge, last = page.locator(".masthead > .badge").bounding_box(), tabs.nth(4).bounding_box()
        assert badge and last and last["x"] + last["width"] <= badge["x"]
