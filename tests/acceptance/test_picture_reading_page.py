"""A picture file that is dropped on the page, or chosen, fills the form with its settings."""

from __future__ import annotations

import base64
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.acceptance.conftest import TIMEOUT_MILLISECONDS
from tests.acceptance.test_page import current_tab, open_settings, page, prompt, seed_field
from tests.support.comfyui_graphs import build_adapter_graph
from tests.support.picture_files import write_png
from tests.support.tool_pictures import write_infotext

__all__ = ["page"]
STEPS = "number input for Steps"
DROP = """([name, type, content, selector]) => {
  const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, { type }));
  const target = document.querySelector(selector);
  for (const type of ["dragenter", "dragover", "drop"]) {
    const event = new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true });
    target.dispatchEvent(event);
    if (!event.defaultPrevented) throw new Error(`the browser would open the file: ${type}`);
    const hint = getComputedStyle(document.body, "::after").content;
    if (type === "dragover" && !hint.includes("read its settings")) throw new Error(`no hint: ${hint}`);
  }
}"""


def drop(page: Page, content: bytes, name: str = "picture.png", media_type: str = "image/png") -> None:
    """Drops a file on the page's head, which is on all tabs."""
    page.evaluate(DROP, [name, media_type, base64.b64encode(content).decode(), ".masthead"])


def test_a_dropped_picture_fills_the_form_and_says_what_differs(page: Page, tmp_path: Path) -> None:
    open_settings(page)
    prompt(page).fill("something else")
    current_tab(page).get_by_label("Negative prompt").fill("from before")
    page.get_by_role("tab", name="Library").click()
    drop(page, write_png({"prompt": build_adapter_graph()}))
    expect(prompt(page)).to_have_value("a red circle, glow", timeout=TIMEOUT_MILLISECONDS)
    expect(current_tab(page).get_by_label(STEPS)).to_have_value("12")
    expect(current_tab(page).get_by_label("Negative prompt")).to_have_value("blurry")
    expect(seed_field(page)).to_have_value("7")
    report = page.get_by_role("region", name="Read from a picture of ComfyUI")
    expect(report).to_contain_text("LoRAs styles\\gone.safetensorsIt is not here, and is left out.")
    expect(report).to_contain_text("Sampler dpmpp_2m, karras DPM++ 2M Karras")
    expect(report.get_by_text("Steps")).to_be_hidden()
    report.get_by_text("The same here").click()
    expect(report.get_by_text("Steps")).to_be_visible()

    current_tab(page).get_by_role("button", name="Undo").click()
    expect(prompt(page)).to_have_value("something else")
    expect(current_tab(page).get_by_label("Negative prompt")).to_have_value("from before")
    expect(report).to_have_count(0)

    # What the picture does not say is as in a new form: nothing of the form before is left.
    (tmp_path / "picture.png").write_bytes(write_infotext("Steps: 5, Sampler: Euler, Seed: 3", "a cat", negative=""))
    page.get_by_label("Settings from a picture").set_input_files(tmp_path / "picture.png")
    expect(prompt(page)).to_have_value("a cat", timeout=TIMEOUT_MILLISECONDS)
    expect(current_tab(page).get_by_label("Negative prompt")).to_have_value("")
    page.get_by_role("region", name="Read from a picture of AUTOMATIC1111").get_by_role("button", name="Close").click()
    expect(page.get_by_role("region", name="Read from a picture")).to_have_count(0)

    drop(page, write_png({}))
    expect(current_tab(page).locator(".block.status")).to_contain_text("does not say how it was made")
    drop(page, b"no picture", "notes.txt", "text/plain")
    expect(page.locator(".toast-line")).to_have_text("This file is not a picture.")
    expect(prompt(page)).to_have_value("a cat")
