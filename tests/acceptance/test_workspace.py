"""What an artist does in the tab "Create" beside making pictures, in a real browser."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import httpx2
import pytest
from PIL import Image, ImageChops, ImageStat
from playwright.sync_api import Browser, Page, expect

from tests.acceptance.conftest import (
    TIMEOUT_MILLISECONDS,
    Studio,
    open_page,
    open_window,
    wait_until_usable,
)
from tests.acceptance.test_library_page import press_until_focused
from tests.acceptance.test_page import (
    PROMPT,
    current_tab,
    fact,
    generate,
    open_settings,
    open_tab,
    page,
    prompt,
    screenshot,
    seed_field,
    set_batch_size,
    set_field,
    set_steps,
    shown_picture,
    upload_field,
)

__all__ = ["page"]
WIDTH, HEIGHT, STEPS = ("number input for Width", "number input for Height", "number input for Steps")


def test_settings_that_were_replaced_come_back(page: Page) -> None:
    generate(page, "a green star", steps=3)
    prompt(page).fill("something else")
    set_steps(page, 9)
    current_tab(page).get_by_role("button", name="Reuse settings").click()
    expect(prompt(page)).to_have_value("a green star")
    current_tab(page).get_by_role("button", name="Undo").click()
    expect(prompt(page)).to_have_value("something else")
    expect(current_tab(page).get_by_label(STEPS)).to_have_value("9")
    expect(seed_field(page)).to_have_value("")


def test_a_dropped_picture_says_its_size_can_be_undone_and_survives_a_reload(page: Page, tmp_path: Path) -> None:
    Image.new("RGB", (600, 400), (0, 120, 0)).save(tmp_path / "photo.png")
    open_tab(page, "Image to image")
    upload_field(page).set_input_files(tmp_path / "photo.png")
    status = current_tab(page).locator(".block.status")
    expect(status).to_contain_text(
        "Your picture will be painted at 312 \N{MULTIPLICATION SIGN} 208.", timeout=TIMEOUT_MILLISECONDS
    )
    expect(current_tab(page).get_by_label("3:2")).to_be_checked()
    prompt(page).fill("a meadow")
    page.reload()
    wait_until_usable(page)
    expect(page.get_by_role("tab", name="Picture", exact=True)).to_have_attribute("aria-selected", "true")
    expect(current_tab(page).locator(".start img")).to_be_visible()
    generate(page, "a meadow")
    assert shown_picture(page).size == (312, 208)
    Image.new("RGB", (300, 300), (120, 0, 0)).save(tmp_path / "other.png")
    current_tab(page).get_by_label("Remove").or_(current_tab(page).get_by_label("Clear")).first.click()
    upload_field(page).set_input_files(tmp_path / "other.png")
    expect(status).to_contain_text("256 \N{MULTIPLICATION SIGN} 256", timeout=TIMEOUT_MILLISECONDS)
    current_tab(page).get_by_role("button", name="Undo").click()
    expect(status).to_have_text("Undone")
    expect(current_tab(page).get_by_label("3:2")).to_be_checked()


def test_a_picture_is_made_larger_and_its_settings_are_used_again(page: Page, tmp_path: Path) -> None:
    Image.new("RGB", (60, 40), (0, 120, 0)).save(tmp_path / "photo.png")
    open_tab(page, "Upscale")
    upload_field(page).set_input_files(tmp_path / "photo.png")
    expect(current_tab(page).locator(".start img")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    current_tab(page).get_by_role("button", name="Generate").click()
    details = current_tab(page).locator(".block.details")
    expect(details).to_contain_text("240 \N{MULTIPLICATION SIGN} 160", timeout=TIMEOUT_MILLISECONDS)
    expect(details).to_contain_text("studio-x4")
    expect(current_tab(page).get_by_role("button", name="Vary")).to_be_hidden()
    open_tab(page, "Text to image")
    current_tab(page).get_by_role("button", name="Reuse settings").click()
    expect(page.get_by_role("tab", name="Upscale")).to_have_attribute("aria-selected", "true")


def test_shape_and_size_are_chosen_with_one_click(page: Page) -> None:
    open_settings(page)
    current_tab(page).get_by_label("16:9").check()
    expect(current_tab(page).get_by_label(WIDTH)).to_have_value("344")
    expect(current_tab(page).get_by_label(HEIGHT)).to_have_value("192")
    current_tab(page).get_by_role("button", name="Swap width and height").click()
    expect(current_tab(page).get_by_label("9:16")).to_be_checked()
    current_tab(page).get_by_label("0.03").check()
    expect(current_tab(page).get_by_label(WIDTH)).to_have_value("136")
    current_tab(page).get_by_label("\N{MULTIPLICATION SIGN}2").check()
    expect(current_tab(page).get_by_label("number input for Batch size")).to_have_value("2")
    generate(page)
    assert shown_picture(page).size == (136, 240)
    expect(current_tab(page).locator(".history [data-show]")).to_have_count(2)


def test_keys_change_the_weight_of_words_and_bring_earlier_prompts(page: Page) -> None:
    generate(page, "a red circle", steps=1)
    generate(page, "a green star", steps=1)
    field = prompt(page)
    field.fill("a blue square")
    field.press("Alt+ArrowUp")
    field.press("Alt+ArrowUp")
    expect(field).to_have_value("a red circle")
    field.press("Alt+ArrowDown")
    field.press("Alt+ArrowDown")
    expect(field).to_have_value("a blue square")
    field.evaluate("field => field.setSelectionRange(2, 6)")
    field.press("Control+ArrowUp")
    field.press("Control+ArrowUp")
    expect(field).to_have_value("a (blue:1.2) square")
    for _ in range(3):
        field.press("Control+ArrowDown")
    expect(field).to_have_value("a (blue:0.9) square")
    field.press("Control+ArrowUp")
    expect(field).to_have_value("a blue square")


def test_a_picture_is_marked_deleted_and_brought_back(page: Page, studio: Studio) -> None:
    generate(page, "a red circle", steps=1)
    generate(page, "a green star", steps=1)
    current_tab(page).get_by_role("button", name="Favourite").click()
    expect(current_tab(page).get_by_role("button", name="Favourite")).to_have_attribute("aria-pressed", "true")
    with httpx2.Client(base_url=studio.url) as web:
        assert [each["favourite"] for each in web.get("/v1/pictures").json()["pictures"]] == [True, False]
    current_tab(page).get_by_role("button", name="Delete").click()
    expect(current_tab(page).locator(".details .prompt")).to_have_text("a red circle")
    expect(current_tab(page).locator(".history [data-show]")).to_have_count(1)
    page.get_by_role("button", name="Undo").click()
    expect(current_tab(page).locator(".history [data-show]")).to_have_count(2)


@pytest.mark.parametrize("name", ["WEBP", "JPEG"])
def test_a_picture_is_downloaded_in_other_formats(page: Page, tmp_path: Path, name: str) -> None:
    generate(page, "Привет, круг", steps=1)
    current_tab(page).get_by_label("Other formats").click()
    with page.expect_download() as download:
        current_tab(page).get_by_role("link", name=name).click()
    assert download.value.suggested_filename.startswith("привет-круг")
    download.value.save_as(tmp_path / "picture")
    with Image.open(tmp_path / "picture") as picture:
        assert picture.format == name


def test_what_is_opened_on_a_new_picture_stays_open(page: Page) -> None:
    generate(page, "a red circle", steps=1)
    page.evaluate("""
        const files = document.querySelector(".workspace .files");
        const open = (all) => all.forEach((each) => { each.open = true; });
        new MutationObserver(() => open(document.querySelectorAll(".workspace .menu, .workspace .details details")))
          .observe(files, { subtree: true, attributeFilter: ["href"] });
    """)
    generate(page, "a green star", steps=1)
    link = current_tab(page).get_by_role("link", name="JPEG")
    expect(link).to_be_visible()
    # The page asks for new jobs every 3 s, and shows this one's pictures again.
    page.wait_for_timeout(3500)
    expect(link).to_be_visible()
    expect(current_tab(page).locator(".details pre")).to_be_visible()


def test_a_picture_is_made_varied_and_painted_anew_by_keyboard_alone(page: Page) -> None:
    press, create = page.keyboard.press, current_tab(page)
    facts = create.locator(".details .prompt")
    pictures = create.locator(".history [data-show]")
    steps = create.get_by_label(STEPS)
    press_until_focused(page, "Tab", prompt(page))
    page.keyboard.type("a green star")
    press_until_focused(page, "Tab", steps)
    press("Control+a")
    page.keyboard.type("2")
    press("Control+Enter")
    expect(facts).to_have_text("a green star", timeout=TIMEOUT_MILLISECONDS)
    press_until_focused(page, "Tab", create.get_by_label("Other formats"))
    press("Enter")
    press_until_focused(page, "Tab", create.get_by_role("link", name="WEBP"))
    with page.expect_download():
        press("Enter")
    press_until_focused(page, "Tab", create.get_by_role("button", name="Favourite"))
    press("Space")
    expect(create.get_by_role("button", name="Favourite")).to_have_attribute("aria-pressed", "true")
    press_until_focused(page, "Tab", create.get_by_role("button", name="Vary"))
    press("Enter")
    expect(pictures).to_have_count(2, timeout=TIMEOUT_MILLISECONDS)
    press_until_focused(page, "Tab", create.get_by_role("button", name="Send to image to image"))
    press("Enter")
    expect(create.locator(".start img")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    press_until_focused(page, "Shift+Tab", create.get_by_role("button", name="Generate"))
    press("Enter")
    expect(pictures).to_have_count(3, timeout=TIMEOUT_MILLISECONDS)
    press_until_focused(page, "Tab", create.get_by_role("button", name="Delete"))
    press("Enter")
    expect(pictures).to_have_count(2)
    press_until_focused(page, "Tab", page.get_by_role("button", name="Undo"))
    press("Enter")
    expect(pictures).to_have_count(3)


def test_a_choice_is_one_stop_of_the_tab_key_and_arrows_change_it(page: Page) -> None:
    press, create = page.keyboard.press, current_tab(page)
    press_until_focused(page, "Tab", create.get_by_label("1:1"))
    press("ArrowRight")
    press("ArrowRight")  # At once: the choice before it must not come back.
    expect(create.get_by_label("2:3")).to_be_focused()
    expect(create.get_by_label("2:3")).to_be_checked()
    press("Tab")
    expect(create.get_by_label("2:3")).not_to_be_focused()
    press("Shift+Tab")
    expect(create.get_by_label("2:3")).to_be_focused()
    open_settings(page)
    width, height = (int(create.get_by_label(each).input_value()) for each in (WIDTH, HEIGHT))
    assert width < height


def test_another_picture_can_be_looked_at_while_a_job_runs(page: Page) -> None:
    generate(page, "a red circle", steps=1)
    set_steps(page, 150)
    set_batch_size(page, 8)
    prompt(page).fill("a green star")
    current_tab(page).get_by_role("button", name="Generate").click()
    expect(current_tab(page).locator(".stage.preview img")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    current_tab(page).get_by_role("button", name="a red circle").click()
    expect(current_tab(page).locator(".stage.finished img")).to_have_attribute("alt", "a red circle")
    expect(current_tab(page).locator(".details .prompt")).to_have_text("a red circle")
    step = current_tab(page).locator(".state.running").inner_text()
    expect(current_tab(page).locator(".state.running")).not_to_have_text(step)
    expect(current_tab(page).locator(".stage.preview")).to_have_count(0)
    assert page.title().endswith("% · Image Studio") or "% · Image Studio" in page.title()
    current_tab(page).get_by_role("button", name="Show the running job").click()
    expect(current_tab(page).locator(".stage.preview img")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    current_tab(page).get_by_role("button", name="Stop").click()
    expect(page).to_have_title("Image Studio")


def test_jobs_and_pictures_of_another_tab_appear(page: Page, browser: Browser, studio: Studio) -> None:
    with open_window(browser) as other:
        open_page(other, studio.url)
        set_steps(other, 150)
        set_batch_size(other, 8)
        prompt(other).fill("a green star")
        current_tab(other).get_by_role("button", name="Generate").click()
        expect(current_tab(page).locator(".stage.preview img")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
        current_tab(page).get_by_role("button", name="Stop").click()
        expect(current_tab(other).locator(".block.status")).to_have_text("Stopped", timeout=TIMEOUT_MILLISECONDS)
        set_batch_size(other, 1)
        generate(other, "a blue square", steps=1)
    expect(current_tab(page).locator(".history [data-show]")).to_have_count(1, timeout=TIMEOUT_MILLISECONDS)


def test_an_error_is_at_its_field(page: Page) -> None:
    prompt(page).fill(PROMPT)
    set_field(page, seed_field(page), "many")
    current_tab(page).get_by_role("button", name="Generate").click()
    field = current_tab(page).locator("#field-seed")
    expect(field.locator(".field-problem")).to_have_text("Seed must be a number.")
    expect(seed_field(page)).to_be_focused()
    screenshot(page, "field-problem")
    seed_field(page).fill("1")
    set_steps(page, 1)
    current_tab(page).get_by_role("button", name="Generate").click()
    expect(field.locator(".field-problem")).to_have_count(0)
    expect(current_tab(page).locator(".state.done")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)


def test_a_number_is_never_replaced_in_silence(page: Page) -> None:
    steps = current_tab(page).get_by_label(STEPS)
    steps.fill("")
    steps.press("Tab")
    expect(steps).to_have_value("20")
    open_settings(page)
    width = current_tab(page).get_by_label(WIDTH)
    width.fill("1024")
    width.press("Tab")
    expect(current_tab(page).locator("#field-width .field-problem")).to_have_text(
        "It can be at most 512 here, and is 512 now."
    )


def test_seeds_are_kept_and_made_anew(page: Page) -> None:
    generate(page, steps=1)
    current_tab(page).get_by_role("button", name="Reuse seed").click()
    expect(seed_field(page)).to_have_value(fact(page, "Seed"))
    current_tab(page).get_by_role("button", name="New seed each time").click()
    expect(seed_field(page)).to_have_value("")


def test_trigger_words_are_put_into_the_prompt_with_a_click(page: Page) -> None:
    prompt(page).fill("a boat")
    current_tab(page).get_by_label("LoRAs").click()
    page.get_by_role("option", name="neon", exact=False).click()
    page.keyboard.press("Escape")
    word = current_tab(page).get_by_role("button", name="neon style")
    word.click()
    word.click()
    expect(prompt(page)).to_have_value("a boat, neon style")


def test_the_list_of_models_closes_when_it_is_left(page: Page) -> None:
    options = page.get_by_role("option", name="Embedded", exact=True)
    for key in ("Tab", "Escape"):
        current_tab(page).get_by_label("Model", exact=True).click()
        expect(options).to_be_visible()
        page.keyboard.press(key)
        expect(options).to_have_count(0)


def test_names_of_loras_are_completed_and_the_prompt_is_counted(page: Page) -> None:
    """Keys alone: a LoRA joins the stack, its words stand in the prompt, and the count follows."""
    expect(page.locator(".prompt-facts [data-facts*=neon]")).to_have_count(1, timeout=TIMEOUT_MILLISECONDS)
    prompt(page).focus()
    page.keyboard.type("a fox in the snow, neo")
    names = page.get_by_role("listbox", name="Names")
    expect(names.get_by_role("option")).to_have_text(["NeonLoRA"])
    page.keyboard.press("ArrowDown")
    expect(names.get_by_role("option")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(prompt(page)).to_have_value("a fox in the snow, neon style")
    expect(names).to_have_count(0)
    expect(current_tab(page).get_by_label("number input for neon")).to_have_value("0.8")
    expect(page.locator(".prompt .length")).to_have_text("10 / 75")
    page.keyboard.type(" <")
    expect(names.get_by_role("option")).to_have_count(2)
    page.keyboard.press("Escape")
    expect(names).to_have_count(0)
    expect(prompt(page)).to_have_value("a fox in the snow, neon style <")
    prompt(page).fill("a fox, " * 30)
    expect(page.locator(".prompt .length")).to_have_text("120 / 150")
    current_tab(page).get_by_role("button", name="Remove LoRA 1").click()
    expect(current_tab(page).locator(".chip").filter(visible=True)).to_have_count(0)


def test_a_wildcard_is_completed_painted_and_written_again(page: Page, studio: Studio) -> None:
    folder = studio.models_dir / "wildcards"
    folder.mkdir(parents=True)
    (folder / "weather.txt").write_text("snow\nrain\n")
    (folder / "wings.txt").write_text("feathers\n")
    try:
        prompt(page).fill("")
        prompt(page).press_sequentially("a fox in __")
        expect(page.locator("#prompt-suggestions").get_by_role("option")).to_have_text(
            ["weatherWildcard", "wingsWildcard"]
        )
        prompt(page).press_sequentially("we")
        expect(page.locator("#prompt-suggestions").get_by_role("option")).to_have_text(["weatherWildcard"])
        screenshot(page, "wildcards")
        prompt(page).press("Enter")
        prompt(page).press_sequentially(", __weather__")
        expect(page.locator("#prompt-suggestions").get_by_role("option")).to_have_count(0)
        expect(prompt(page)).to_have_value("a fox in __weather__, __weather__")
        expect(current_tab(page).locator(".prompt .length")).to_contain_text("≈ ")
        generate(page, prompt(page).input_value(), steps=1)
    finally:
        shutil.rmtree(folder)
    expect(current_tab(page).locator(".details > .prompt")).to_have_text(
        re.compile("a fox in (snow|rain), (snow|rain)")
    )
    screenshot(page, "written-as")
    prompt(page).fill("something else")
    current_tab(page).get_by_role("button", name="Use as written").press("Enter")
    expect(prompt(page)).to_have_value("a fox in __weather__, __weather__")
    expect(prompt(page)).to_be_focused()
    current_tab(page).get_by_role("button", name="Generate").press("Enter")
    expect(current_tab(page).get_by_role("alert")).to_contain_text("there is no wildcard weather", ignore_case=True)


def test_a_running_job_is_stopped_and_its_picture_kept(page: Page) -> None:
    set_steps(page, 150)
    set_batch_size(page, 4)
    prompt(page).fill("a green star")
    current_tab(page).get_by_role("button", name="Generate").click()
    expect(current_tab(page).locator(".stage.preview img")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    current_tab(page).get_by_role("button", name="Keep what is there").click()
    expect(current_tab(page).locator(".stage.finished img")).to_be_visible(timeout=TIMEOUT_MILLISECONDS)
    assert 0 < int(fact(page, "Unfinished at step")) < 150
    expect(current_tab(page).locator(".history [data-show]")).to_have_count(4)


def test_a_picture_is_varied_with_one_click_and_the_form_stays(page: Page) -> None:
    generate(page, "a red circle on a blue background", steps=4)
    seed, first = fact(page, "Seed"), shown_picture(page)
    prompt(page).fill("something else")
    current_tab(page).get_by_role("button", name="Vary").click()
    expect(current_tab(page).locator(".history [data-show]")).to_have_count(2, timeout=TIMEOUT_MILLISECONDS)
    assert (fact(page, "Seed"), fact(page, "Variation strength")) == (seed, "0.25")
    difference = ImageChops.difference(first.convert("RGB"), shown_picture(page).convert("RGB"))
    assert 0 < max(ImageStat.Stat(difference).mean) < 60, "another picture, but much the same"
    expect(prompt(page)).to_have_value("something else")


def test_a_lora_for_few_steps_brings_its_settings_which_can_be_undone(page: Page) -> None:
    current_tab(page).get_by_label("LoRAs").click()
    page.get_by_role("option", name="Fast", exact=True).click()
    page.keyboard.press("Escape")
    expect(current_tab(page).locator(".block.status")).to_contain_text("fast was made for")
    for label, value in ((STEPS, "4"), ("number input for Guidance scale", "1")):
        expect(current_tab(page).get_by_label(label)).to_have_value(value)
    open_settings(page)
    expect(current_tab(page).get_by_label("Sampler")).to_have_value("LCM")
    current_tab(page).get_by_role("button", name="Undo").click()
    expect(current_tab(page).get_by_label(STEPS)).to_have_value("20")
    expect(current_tab(page).get_by_label("Sampler")).not_to_have_value("LCM")
    expect(current_tab(page).locator(".chip").filter(visible=True)).to_have_count(0)
    current_tab(page).get_by_label("LoRAs").click()
    page.get_by_role("option", name="Fast", exact=True).click()
    expect(current_tab(page).get_by_label(STEPS)).to_have_value("4")


# A browser without a screen hides no tab and answers no question: `hides` is what it says of the tab.
NOTIFICATIONS = """
    window.notifications = [];
    window.questions = 0;
    window.Notification = class extends Notification {
        constructor(title, options) {
            super(title, options);
            notifications.push(options.body);
        }
        static async requestPermission() {
            questions += 1;
            return "default";
        }
    };
    Object.defineProperty(Document.prototype, "hidden", { get: () => window.isHidden ?? false });
"""


def run_job(page: Page, is_long: bool = True, is_hidden: bool = False) -> None:
    """Runs a job that takes more than ten seconds of the browser's time, or less. It is ended before its last step."""
    set_steps(page, 150)
    set_batch_size(page, 8)
    prompt(page).fill("a green star")
    current_tab(page).get_by_role("button", name="Generate").click()
    expect(page).to_have_title(re.compile("%"), timeout=TIMEOUT_MILLISECONDS)
    page.evaluate("isHidden => { window.isHidden = isHidden; }", is_hidden)
    if is_long:
        page.clock.fast_forward(11_000)
    current_tab(page).get_by_role("button", name="Keep what is there").click()
    expect(current_tab(page).locator(".block.status")).to_contain_text("Done in", timeout=TIMEOUT_MILLISECONDS)
    expect(page).not_to_have_title(re.compile("%"))
    page.evaluate("window.isHidden = false")


def test_a_notification_tells_the_end_of_a_long_job_in_a_hidden_tab(browser: Browser, studio: Studio) -> None:
    with open_window(browser, permissions=["notifications"]) as page:
        page.add_init_script(NOTIFICATIONS)
        page.clock.install()
        open_page(page, studio.url)
        run_job(page)
        assert page.evaluate("notifications") == []
        run_job(page, is_hidden=True)
        assert [text[:7] for text in page.evaluate("notifications")] == ["Done in"]


def test_notifications_are_asked_for_once_after_a_long_job(browser: Browser, studio: Studio) -> None:
    with open_window(browser) as page:
        page.add_init_script(NOTIFICATIONS)
        page.clock.install()
        open_page(page, studio.url)
        for questions in (0, 1, 1):
            run_job(page)
            assert page.evaluate("questions") == questions
        open_page(page, studio.url)
        for _ in range(2):
            run_job(page)
            assert page.evaluate("questions") == 0
