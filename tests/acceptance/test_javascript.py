"""JavaScript programs that use the studio with Gradio's client."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from gradio_client import Client
from PIL import Image

from tests.acceptance.conftest import ROOT, Studio

FIELDS = {"prompt": "a red circle on a blue background", "seed": 7, "steps": 4}


def generate(studio: Studio, **fields: Any) -> tuple[int, dict[str, Any]]:
    """The exit status of the program, and its output."""
    command = ["node", "generate.mjs", studio.url, json.dumps(fields)]
    done = subprocess.run(command, cwd=ROOT / "tests/node", capture_output=True, text=True, check=False, timeout=120)
    assert done.stderr == ""
    output: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, output


def pixels(content: bytes) -> tuple[tuple[int, int], bytes]:
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.format == "PNG"
        return picture.size, picture.tobytes()


def test_a_program_in_javascript_gets_the_same_picture_as_one_in_python(studio: Studio) -> None:
    status, output = generate(studio, **FIELDS)
    assert status == 0, output
    assert output["statuses"] == ["pending", "complete"]
    with urllib.request.urlopen(output["image_url"], timeout=10) as answer:
        content = answer.read()
    assert hashlib.sha256(content).hexdigest() == output["sha256"]
    image, receipt = Client(studio.url, verbose=False).predict(**FIELDS, api_name="/txt2img")
    assert output["receipt"] == receipt and receipt["seed"] == 7
    assert pixels(content) == pixels(Path(image).read_bytes())


def test_a_program_in_javascript_gets_the_error_message(studio: Studio) -> None:
    status, output = generate(studio, **FIELDS | {"steps": 0})
    assert (status, output) == (1, {"error": "steps: must be between 1 and 150", "title": "invalid_request"})
