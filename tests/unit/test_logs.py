from __future__ import annotations

import hashlib
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from imagegen.logs import LogStream, configure_logging, log_generation
from imagegen.schema.events import Result
from imagegen.schema.receipt import Picture, Receipt
from imagegen.schema.request import GenerationRequest

logger = logging.getLogger("imagegen.test")
PROMPT = 'a "red" circle\r\nin Köln\u2028{"level": "CRITICAL"}'


@pytest.fixture(autouse=True)
def own_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restores pytest's handlers afterwards."""
    root = logging.getLogger()
    with monkeypatch.context() as patch:
        patch.setattr(root, "handlers", [])
        patch.setattr(root, "level", root.level)
        yield
        for handler in root.handlers:
            handler.close()
    logging.captureWarnings(False)


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def finished() -> Result:
    receipt = Receipt(
        prompt=PROMPT,
        negative_prompt="",
        width=128,
        height=128,
        steps=20,
        guidance_scale=5,
        sampler="Euler",
        seed=7,
        clip_skip=0,
        init_image=None,
        strength=None,
        model_id="a-model",
        device="cpu",
        dtype="float32",
        versions={},
    )
    return Result(pictures=(Picture(id="0", receipt=receipt),), latency_ms=1234)


def test_a_json_line_has_its_fields_and_what_was_added(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    logger.warning("Something %s", "happened", extra={"action": "happen", "path": Path("/a")})
    (line,) = json_lines(capsys.readouterr().out)
    assert list(line) == ["timestamp", "level", "name", "message", "action", "path"]
    assert (line["level"], line["name"], line["message"]) == ("WARNING", "imagegen.test", "Something happened")
    assert (line["action"], line["path"]) == ("happen", "/a")


def test_the_time_is_in_utc(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    before = datetime.now(UTC)
    logger.info("Now")
    (line,) = json_lines(capsys.readouterr().out)
    assert line["timestamp"].endswith("+00:00")
    assert before <= datetime.fromisoformat(line["timestamp"]) <= datetime.now(UTC)


def test_a_finished_generation_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    log_generation(logger, GenerationRequest(prompt=PROMPT, seed=7), finished(), "job-1")
    (line,) = json_lines(capsys.readouterr().out)
    del line["timestamp"]
    assert line == {
        "level": "INFO",
        "name": "imagegen.test",
        "message": "Generation finished",
        "prompt": PROMPT,
        "seed": 7,
        "variation_seed": None,
        "variation_strength": 0.0,
        "model_id": "a-model",
        "latency_ms": 1234,
        "vram_peak_mb": None,
        "nsfw_detected": None,
        "unfinished_at_step": None,
        "cached": False,
        "job_id": "job-1",
    }


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_line_breaks_do_not_break_a_line(log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(log_format)
    logger.info("one\r\ntwo", extra={"prompt": "three\nfour\x1b[31m"})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert not {"\r", "\x1b"} & set(out)


def test_text_has_the_same_fields_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("text")
    log_generation(logger, GenerationRequest(prompt="a red circle", seed=7), finished(), "job-1")
    out = capsys.readouterr().out
    assert 'INFO    imagegen.test: Generation finished  prompt="a red circle"  seed=7' in out


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_gets_text_and_all_else_json(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    configure_logging("auto")
    logger.info("Hello")
    assert capsys.readouterr().out.startswith("{") is not terminal


def test_the_file_gets_json_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("text", tmp_path / "logs" / "studio.log")
    logger.info("Hello")
    (line,) = json_lines((tmp_path / "logs" / "studio.log").read_text())
    assert line["message"] == "Hello"
    assert "Hello" in capsys.readouterr().out


def test_exceptions_and_warnings_are_lines_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    try:
        raise ValueError("no\nway")
    except ValueError:
        logger.exception("Failed")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", stacklevel=1)
    failure, warning = json_lines(capsys.readouterr().out)
    assert "ValueError: no\nway" in failure["exc_info"]
    assert warning["name"] == "py.warnings"


def test_the_server_logs_through_the_same_handler(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    uvicorn.Config(app="unused", log_level="warning")
    logging.getLogger("uvicorn.error").warning("Odd request")
    (line,) = json_lines(capsys.readouterr().out)
    assert line["name"] == "uvicorn.error"


def test_configuring_twice_does_not_log_twice(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    configure_logging("json")
    logging.getLogger("httpx").info("GET /")
    logger.info("Once")
    assert [line["message"] for line in json_lines(capsys.readouterr().out)] == ["Once"]


def test_what_a_library_prints_is_lines_of_the_log_and_cannot_pretend_to_be_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("json")
    with redirect_stderr(LogStream()):
        sys.stderr.write('Traceback:\n  {"level": "INFO", "message": "forged"}\n')
    first, second = json_lines(capsys.readouterr().out)
    assert first["message"] == "Traceback:" and first["action"] == "printed"
    assert second["message"] == '  {"level": "INFO", "message": "forged"}' and second["name"] == "printed"


def test_prompts_can_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    log_generation(logger, GenerationRequest(prompt=PROMPT, seed=7), finished(), "a-job", log_prompts=False)
    output = capsys.readouterr().out
    (line,) = json_lines(output)
    assert line["prompt_length"] == len(PROMPT)
    assert line["prompt_sha256"] == hashlib.sha256(PROMPT.encode()).hexdigest()
    assert "prompt" not in line
    assert "circle" not in output
