"""One definition, read from the command line and the environment."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from imagegen.settings import read_settings

SPACE = {
    "GRADIO_SERVER_NAME": "0.0.0.0",
    "GRADIO_SERVER_PORT": "7861",
    "OPENID_PROVIDER_URL": "https://huggingface.co",
    "OAUTH_CLIENT_ID": "client",
    "OAUTH_CLIENT_SECRET": "a secret",
    "OAUTH_SCOPES": "openid profile",
    "SPACE_HOST": "ann-studio.hf.space",
    "SPACE_AUTHOR_NAME": "ann",
}


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_PORT", "8001")
    monkeypatch.setenv("STUDIO_MAX_QUEUED", "5")
    settings = read_settings(["--port", "8002", "--data-dir", "here"], {})
    assert (settings.port, settings.max_queued, settings.data_dir) == (8002, 5, Path("here"))


def test_a_space_says_where_to_listen() -> None:
    settings = read_settings([], SPACE)
    assert (settings.host, settings.port) == ("0.0.0.0", 7861)


def test_a_space_with_sign_in_says_who_signs_in_and_whose_it_is() -> None:
    settings = read_settings([], SPACE)
    assert settings.mode == "hf" and settings.is_at_hugging_face
    assert settings.public_url == "https://ann-studio.hf.space"
    assert settings.administrators == ("ann",)
    assert "a secret" not in repr(settings)


def test_a_space_may_have_a_name_of_its_own_besides() -> None:
    settings = read_settings([], SPACE | {"SPACE_HOST": "ann-studio.hf.space,paint.example.org"})
    assert settings.public_url == "https://ann-studio.hf.space" and settings.hosts == ("paint.example.org",)


@pytest.mark.parametrize("flags", [["--access", "keys"], ["--access", "hf"], ["--open-to-network"]])
def test_other_machines_are_let_in_when_it_is_said_who_may(flags: list[str]) -> None:
    assert read_settings(["--host", "0.0.0.0", *flags], {}).host == "0.0.0.0"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "studio.local"])
def test_other_machines_are_not_let_in_by_accident(host: str) -> None:
    with pytest.raises(ValidationError, match="nobody has to sign in"):
        read_settings(["--host", host], {})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.5", "::1", "localhost"])
def test_this_machine_alone_needs_no_sign_in(host: str) -> None:
    assert read_settings(["--host", host], {}).mode == "open"


def test_names_are_lists_with_commas() -> None:
    assert read_settings(["--allowed-users", "ann, bob,"], {}).allowed_users == ("ann", "bob")


def test_a_short_session_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_SESSION_SECRET", "x" * 31)
    with pytest.raises(ValidationError, match="at least 32 bytes"):
        read_settings([], {})


def test_our_own_variables_win_over_gradios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_HOST", "127.0.0.1")
    assert read_settings([], SPACE | {"STUDIO_HOST": "127.0.0.1"}).host == "127.0.0.1"


def test_variables_that_others_set_mean_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "example.org")
    monkeypatch.setenv("PORT", "99")
    settings = read_settings([], {})
    assert (settings.host, settings.port) == ("127.0.0.1", 7860)


@pytest.mark.parametrize("flags", [["--port", "many"], ["--port", "70000"], ["--worker", "magic"]])
def test_a_wrong_value_is_named(flags: list[str]) -> None:
    with pytest.raises(ValidationError, match=flags[0].removeprefix("--")):
        read_settings(flags, {})


def test_a_secret_may_begin_like_a_flag() -> None:
    secret = read_settings([], SPACE | {"OAUTH_CLIENT_SECRET": "-secret"}).oauth_client_secret
    assert secret is not None and secret.get_secret_value() == "-secret"
