"""Writes the picture of the page that is in the README: `python -m tests.page_picture`."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import expect, sync_playwright

from tests.acceptance.conftest import launch_browser, make_client, open_page, open_window, running_studio

FILE = Path(__file__).parents[1] / "assets" / "readme" / "page.webp"
SEED = 7
# The last one is on the stage.
PROMPTS = (
    "a sheep in a meadow with flowers and a rainbow",
    "a city at night in the rain, comic",
    "a desert at night with stars",
    "a forest in fog",
    "mountains at sunrise with clouds, watercolor",
    "a lake at sunset with a boat, oil painting",
)
WEBP_QUALITY = 88
IS_LOADED = "images => images.length && images.every(image => image.complete && image.naturalWidth)"


def main() -> None:
    with TemporaryDirectory() as folder, running_studio(Path(folder)) as studio, sync_playwright() as playwright:
        with make_client(studio) as web:
            for prompt in PROMPTS:
                web.post("/v1/txt2img", json={"prompt": prompt, "seed": SEED}).raise_for_status()
        with launch_browser(playwright.chromium, "") as browser, open_window(browser, device_scale_factor=1.5) as page:
            form = json.dumps({"prompt": PROMPTS[-1], "seed": SEED})
            open_page(page, f"{studio.url}/?request={quote(form)}")
            pictures = page.locator(".stage.finished img, .history img")
            expect(pictures).to_have_count(1 + len(PROMPTS))
            page.wait_for_function(f"() => ({IS_LOADED})([...document.querySelectorAll('.stage img, .history img')])")
            expect(page.get_by_label("Prompt", exact=True)).to_have_value(PROMPTS[-1])
            content = page.screenshot()
    with Image.open(BytesIO(content)) as image:
        image.save(FILE, quality=WEBP_QUALITY, method=6)


if __name__ == "__main__":
    main()
