"""Code samples are valid in each language, contain the fields that were set, and quote every prompt."""

from __future__ import annotations

import ast
import base64
import itertools
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagegen.schema.models import ModelInfo
from imagegen.settings import Settings
from tests.doubles import make_library
from ui.app import render_sign_out
from ui.code_samples import LANGUAGES, SampleRequest, quote_json, quote_python, select_non_default_fields
from ui.tabs.api import describe_token, render_notes

ADDRESS = "http://127.0.0.1:7860"
PROMPTS = (
    "a red circle on a blue background",
    "it's \"quoted\" $HOME `id` $(id) !! \\n \\ \n 日本語 </script> ${alert(1)}",
    "ends with a backslash \\",
    "JSON\nJSON\n'JSON'\nEOF",
    "tab\tand\r\nlines\u2028and\u0085more\x00\x7f",
    "turned \u202e about, far \U000e0001 away, half \ud83d a letter, 👩\u200d🎨",
    '"""\'\'\'',
)  # fmt: skip
MORE: dict[str, Any] = {
    "negative_prompt": "$(touch stolen) 'no' \"letters\"",
    "width": 256,
    "height": 128,
    "guidance_scale": 4.5,
    "seed": 0,
    "model": "it's/mine\\",
    "loras": [{"lora": "ne'on", "weight": 0.8}, {"lora": "$x", "weight": -1}],
    "embeddings": ["`id`"],
}
SEVERAL: dict[str, Any] = {"more_prompts": ["$(touch stolen) 'a' \"cat\"", "日本語\\"]}
CALLS = [
    SampleRequest(ADDRESS, {"prompt": prompt, **more}, input_images, is_signed_in)
    for prompt, more, (input_images, is_signed_in) in itertools.product(
        PROMPTS, ({}, MORE, MORE | {"batch_size": 2}, SEVERAL), (((), False), (("init_image",), True))
    )
]


@pytest.fixture
def model(tmp_path: Path) -> ModelInfo:
    return make_library(tmp_path).models.get("embedded").info


def calls_in(code: str, function: str) -> dict[str, ast.expr]:
    """Returns the arguments of the one call in some Python code."""
    tree = ast.parse(code)
    (call,) = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and function in ast.unparse(node.func))
    return {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}


def make_language_sample(name: str, call: SampleRequest) -> str:
    return LANGUAGES[name].write(call)


@pytest.mark.parametrize("call", CALLS)
def test_python_code_passes_every_field_unchanged(call: SampleRequest) -> None:
    code = make_language_sample("Python", call)
    compile(code, "code", "exec")
    keywords = calls_in(code, "predict")
    assert ast.literal_eval(keywords.pop("api_name")) == ("/img2img" if call.input_images else "/txt2img")
    if call.input_images:
        assert ast.unparse(keywords.pop("init_image")) == "handle_file('picture.png')"
    assert {name: ast.literal_eval(value) for name, value in keywords.items()} == call.fields
    assert ("os.environ['STUDIO_TOKEN']" in code) == call.needs_token


@pytest.mark.parametrize("call", CALLS)
def test_openai_code_passes_every_field_by_its_openai_name(call: SampleRequest) -> None:
    code = make_language_sample("OpenAI", call)
    compile(code, "code", "exec")
    keywords = calls_in(code, "studio.images")
    if call.input_images:
        assert ast.unparse(keywords.pop("image")) == "open('picture.png', 'rb')"
    values = {name: ast.literal_eval(value) for name, value in keywords.items()}
    assert values.pop("response_format") == "b64_json"
    fields = values.pop("extra_body", {})
    if "size" in values:
        fields |= dict(zip(("width", "height"), map(int, values.pop("size").split("x")), strict=True))
    if "n" in values:
        fields["batch_size"] = values.pop("n")
    one_at_a_time = {name: value for name, value in call.fields.items() if name != "more_prompts"}
    assert fields | values == one_at_a_time
    assert ("one prompt at a time" in code) == ("more_prompts" in call.fields)
    assert ('os.environ["STUDIO_TOKEN"]' in code) == call.needs_token == ('"none"' not in code)


# A curl that stores its request and answers.
CURL = """
curl() { cat > sent.json; printf '%s\\n' "$@" > flags; printf '%s' "$ANSWER" > answer.json; }
"""


@pytest.mark.parametrize("call", CALLS)
def test_a_shell_sends_every_field_and_runs_none_of_it(call: SampleRequest, tmp_path: Path) -> None:
    code = make_language_sample("curl", call)
    (tmp_path / "picture.png").write_bytes(bytes(range(256)) * 40)
    picture = base64.b64encode(b"a picture").decode()
    others = [{"image_b64": picture}] if call.is_batch else []
    answer = {"receipt": {"prompt": '"image_b64":"bm8="'}, "image_b64": picture, "others": others}
    sent_answer = json.dumps(answer, separators=(",", ":"))
    environment = {"PATH": os.environ["PATH"], "ANSWER": sent_answer, "STUDIO_TOKEN": "secret"}
    shell = ["bash", "-euc", CURL + code]
    done = subprocess.run(shell, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    sent = json.loads((tmp_path / "sent.json").read_text())
    if call.input_images:
        assert base64.b64decode(sent.pop("init_image"), validate=True) == (tmp_path / "picture.png").read_bytes()
    assert sent == call.fields
    flags = (tmp_path / "flags").read_text().splitlines()
    assert f"{ADDRESS}/v1/{call.endpoint}" in flags
    assert ("Authorization: Bearer secret" in flags) == call.needs_token
    made = {file.name: file.read_bytes() for file in tmp_path.glob("out*")}
    assert made == dict.fromkeys(["out-1.png", "out-2.png"] if call.is_batch else ["out.png"], b"a picture")
    assert {file.name for file in tmp_path.iterdir()} - set(made) == {
        "sent.json", "flags", "answer.json", "picture.png",
    }  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_javascript_code_passes_every_field_unchanged(call: SampleRequest) -> None:
    """One field per line, as in JSON but for the quotes around names. Acceptance tests run the samples."""
    code = make_language_sample("JavaScript", call)
    passed_fields = dict(
        line.strip().removesuffix(",").split(": ", 1) for line in code.split("{\n")[-1].splitlines() if line[0] == " "
    )
    if call.input_images:
        assert passed_fields.pop("init_image") == 'handle_file("picture.png")'
    assert {name: json.loads(value) for name, value in passed_fields.items()} == call.fields
    assert f'studio.predict("/{call.endpoint}", {{' in code
    assert ("process.env.STUDIO_TOKEN" in code) == call.needs_token


LISTS: dict[str, Any] = {
    "prompt": PROMPTS[1],
    "controls": [
        {"controlnet": "$(touch stolen)", "image": "0" * 64, "preprocessor": "canny"},
        {"controlnet": "it's `id`", "image": "1" * 64},
    ],
    "references": [{"image": "2" * 64, "weight": 0.5}],
}
LIST_FILES = ("control.png", "control-2.png", "reference.png")


def read_list_files(read: Callable[[str], str]) -> dict[str, Any]:
    """Returns the fields of LISTS with what `read` returns for the file of each picture."""
    first, second, reference = map(read, LIST_FILES)
    edges, other = LISTS["controls"]
    return LISTS | {
        "controls": [edges | {"image": first}, other | {"image": second}],
        "references": [LISTS["references"][0] | {"image": reference}],
    }


def test_pictures_in_lists_are_uploaded_by_the_clients_of_gradio() -> None:
    call = SampleRequest(ADDRESS, LISTS)
    code = make_language_sample("Python", call)
    assert "from gradio_client import Client, handle_file\n" in code
    arguments = calls_in(code, "predict") | {"api_name": ast.Constant(None)}
    values = {
        name: eval(ast.unparse(value), {"handle_file": "uploaded {}".format}) for name, value in arguments.items()
    }
    assert values == read_list_files("uploaded {}".format) | {"api_name": None}
    code = make_language_sample("JavaScript", call)
    assert 'import { Client, handle_file } from "@gradio/client";' in code
    for name, value in read_list_files(str).items():
        (line,) = [line for line in code.splitlines() if line.startswith(f"  {name}: ")]
        literal = re.sub(r'handle_file\(("[-\w]+\.png")\)', r"\1", line)
        assert json.loads(literal.removeprefix(f"  {name}: ").removesuffix(",")) == value
        assert line.count("handle_file(") == (len(value) if isinstance(value, list) else 0)


@pytest.mark.parametrize("input_images", [(), ("init_image",)])
def test_pictures_in_lists_are_base64_in_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, input_images: tuple[str, ...]
) -> None:
    """OpenAI's client sends a form with a start image, in which these controls must be one text."""
    call = SampleRequest(ADDRESS, LISTS, input_images)
    contents = {name: name.encode() * 999 for name in (*LIST_FILES, "picture.png")}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    expected = read_list_files(lambda name: base64.b64encode(contents[name]).decode())
    shell = ["bash", "-euc", CURL + make_language_sample("curl", call)]
    environment = {"PATH": os.environ["PATH"], "ANSWER": '{"image_b64":""}'}
    done = subprocess.run(shell, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, (tmp_path / "stolen").exists()) == (0, "", False)
    sent = json.loads((tmp_path / "sent.json").read_text())
    assert {name: sent[name] for name in LISTS} == expected
    monkeypatch.chdir(tmp_path)
    code = make_language_sample("OpenAI", call)
    compile(code, "code", "exec")
    arguments = calls_in(code, "studio.images")
    known = {"base64": base64, "json": json, "Path": Path}
    extra = eval(ast.unparse(arguments["extra_body"]), known)
    assert ("\nimport json\n" in code) == isinstance(extra["controls"], str) == bool(input_images)
    extra["controls"] = json.loads(extra["controls"]) if input_images else extra["controls"]
    assert {"prompt": ast.literal_eval(arguments["prompt"])} | extra == expected


@pytest.mark.parametrize("prompt", PROMPTS)
def test_text_means_itself_and_hides_nothing(prompt: str) -> None:
    assert json.loads(quote_json(prompt)) == prompt
    assert ast.literal_eval(quote_python(prompt)) == prompt
    assert (quote_json(prompt) + quote_python(prompt)).isprintable()
    assert quote_json("日本語 é") == '"日本語 é"'


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_address_is_never_executed(language: str) -> None:
    """The address comes from the browser's Host header."""
    call = SampleRequest("http://it's\"$(id)", {"prompt": "a star"})
    if LANGUAGES[language].syntax == "python":
        compile(make_language_sample(language, call), "code", "exec")
    if language == "curl":
        subprocess.run(["bash", "-n"], input=make_language_sample(language, call), text=True, check=True)
    assert "it's\"" not in make_language_sample(language, call)


def test_code_contains_only_non_default_fields(model: ModelInfo) -> None:
    usual = {
        "prompt": "a star", "negative_prompt": "", "width": model.width, "height": model.height, "steps": model.steps,
        "guidance_scale": model.guidance_scale, "sampler": model.sampler, "seed": None, "batch_size": 1, "clip_skip": 0,
        "strength": model.strength, "model": model.id, "loras": [], "embeddings": [], "more_prompts": [],
        "step_cache": 0,
    }  # fmt: skip
    assert select_non_default_fields(usual, model, model.id) == {"prompt": "a star"}
    assert select_non_default_fields(usual, model, "another") == {"prompt": "a star", "model": model.id}
    assert select_non_default_fields(usual | {"seed": 0, "steps": 5}, model, model.id) == {
        "prompt": "a star",
        "steps": 5,
        "seed": 0,
    }
    wider = select_non_default_fields(usual | {"width": 320}, model, model.id)
    assert wider == {"prompt": "a star", "width": 320, "height": model.height}


def test_what_a_token_is_depends_on_who_signs_users_in() -> None:
    assert describe_token(Settings(access="keys")) == "{variable} is your key of this studio."
    assert describe_token(Settings(access="hf")) == "{variable} is your Hugging Face token."
    other = Settings(access="hf", openid_provider_url="https://sso.example.org/")
    assert describe_token(other) == "{variable} is your access token of https://sso.example.org."
    assert "STUDIO_TOKEN" not in render_notes(ADDRESS, Settings(access="open"), "text_to_image")


def test_names_and_addresses_never_become_part_of_the_page() -> None:
    hostile = "<img src=x onerror=alert(1)>"
    assert "<img" not in render_sign_out(hostile) + render_notes(hostile, Settings(access="keys"), "text_to_image")
