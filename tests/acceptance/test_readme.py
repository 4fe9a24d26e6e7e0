"""The README's examples do what it says that they do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.acceptance.conftest import ROOT, Studio

README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def results(studio: Studio) -> list[dict[str, Any]]:
    """What each example left in its variables, run one after another against a real studio."""

    def run(example: str) -> dict[str, Any]:
        names: dict[str, Any] = {}
        exec(compile(example.replace("http://127.0.0.1:7860", studio.url), "README.md", "exec"), names)
        return names

    return [run(example) for example in EXAMPLES]


def receipt_in(file: str) -> Any:
    with Image.open(Path(file)) as image:
        assert image.format == "PNG"
        return json.loads(image.info["receipt"])


def test_the_first_lines_make_a_picture(results: list[dict[str, Any]]) -> None:
    first = results[0]
    assert first["receipt"]["prompt"] == "a red circle on a blue background"
    assert receipt_in(first["image"]) == first["receipt"]


def test_the_example_with_a_lora_paints_with_it(results: list[dict[str, Any]]) -> None:
    third = results[2]
    assert third["ready"]["state"] == "in memory"
    assert receipt_in(third["glowing"])["loras"][0]["lora"] == "neon"


def test_the_longer_example_watches_and_paints_anew(results: list[dict[str, Any]]) -> None:
    assert receipt_in(results[1]["boat"])["steps"] == 30
    assert receipt_in(results[1]["night"])["strength"] == 0.7
