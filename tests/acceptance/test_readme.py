"""The examples of the README run and give what the README describes."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.acceptance.conftest import ROOT, Studio

README = (ROOT / "README.md").read_text(encoding="utf-8")
ADDRESS = "127.0.0.1:7860"
MODULES = ROOT / "tests/node/node_modules"


def examples(language: str, word: str) -> list[str]:
    """Returns the code blocks in a language that contain a word."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    return [block for block in blocks if word in block]


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs each example in a temporary folder, because examples write pictures to the current one."""
    monkeypatch.chdir(tmp_path)


def run(word: str, studio: Studio) -> dict[str, Any]:
    """Runs the only Python example that contains this word, and returns its variables."""
    (example,) = examples("python", word)
    names: dict[str, Any] = {}
    exec(compile(example.replace(ADDRESS, studio.url.removeprefix("http://")), "README.md", "exec"), names)
    return names


def receipt_in(file: str | Path) -> Any:
    with Image.open(file) as image:
        assert image.format == "PNG"
        return json.loads(image.info["receipt"])


def test_every_example_in_python_is_run_here() -> None:
    words = ("image, receipt = Client", "job = studio.submit", "glowing", "websockets", "openai", "huggingface_hub")
    assert [len(examples("python", word)) for word in words] == [1] * len(words)
    assert len(examples("python", "")) == len(words)


def test_the_first_lines_make_a_picture(studio: Studio) -> None:
    first = run("image, receipt = Client", studio)
    assert first["receipt"]["prompt"] == "a red circle on a blue background"
    assert receipt_in(first["image"]) == first["receipt"]


def test_the_longer_example_watches_and_paints_anew(studio: Studio) -> None:
    longer = run("job = studio.submit", studio)
    assert receipt_in(longer["boat"])["steps"] == 30
    assert receipt_in(longer["night"])["strength"] == 0.7


def test_the_example_with_a_lora_paints_with_it(studio: Studio) -> None:
    names = run("glowing", studio)
    assert names["ready"]["state"] == "in memory"
    assert receipt_in(names["glowing"])["loras"][0]["lora"] == "neon"


def test_the_example_with_a_websocket_tells_progress_and_paints(
    studio: Studio, capsys: pytest.CaptureFixture[str]
) -> None:
    run("websockets", studio)
    assert "100%" in capsys.readouterr().out
    assert receipt_in("sunset.png")["seed"] == 7


def test_the_example_with_openai_paints(studio: Studio) -> None:
    run("openai", studio)
    assert receipt_in("mountains.png")["steps"] == 30


def test_the_example_with_hugging_faces_client_paints(studio: Studio) -> None:
    names = run("huggingface_hub", studio)
    assert json.loads(names["balloon"].info["receipt"])["steps"] == 30
    assert json.loads(names["evening"].info["receipt"])["loras"][0]["lora"] == "neon"


def test_the_example_with_curl_paints(studio: Studio) -> None:
    (example,) = examples("sh", "curl")
    command = example.replace(ADDRESS, studio.url.removeprefix("http://"))
    subprocess.run(["bash", "-euc", command], check=True, timeout=60)
    assert receipt_in("circle.png")["seed"] == 7


def test_the_example_in_javascript_paints(studio: Studio) -> None:
    (example,) = examples("js", "@gradio/client")
    Path("node_modules").symlink_to(MODULES)
    Path("example.mjs").write_text(example.replace(ADDRESS, studio.url.removeprefix("http://")), encoding="utf-8")
    done = subprocess.run(["node", "example.mjs"], capture_output=True, text=True, check=True, timeout=60)
    assert "seed: 7" in done.stdout
