"""One definition, read from the command line and the environment."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from imagegen.settings import read_settings


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_PORT", "8001")
    monkeypatch.setenv("STUDIO_MAX_QUEUED", "5")
    settings = read_settings(["--port", "8002", "--data-dir", "here"], {})
    assert (settings.port, settings.max_queued, settings.data_dir) == (8002, 5, Path("here"))


def test_a_space_says_where_to_listen() -> None:
    settings = read_settings([], {"GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": "7861"})
    assert (settings.host, settings.port) == ("0.0.0.0", 7861)


def test_our_own_variables_win_over_gradios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_HOST", "127.0.0.1")
    assert read_settings([], {"GRADIO_SERVER_NAME": "0.0.0.0", "STUDIO_HOST": "127.0.0.1"}).host == "127.0.0.1"


def test_variables_that_others_set_mean_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "example.org")
    monkeypatch.setenv("PORT", "99")
    settings = read_settings([], {})
    assert (settings.host, settings.port) == ("127.0.0.1", 7860)


@pytest.mark.parametrize("flags", [["--port", "many"], ["--port", "70000"], ["--worker", "magic"]])
def test_a_wrong_value_is_named(flags: list[str]) -> None:
    with pytest.raises(ValidationError, match=flags[0].removeprefix("--")):
        read_settings(flags, {})
