"""Settings from the command line and the environment."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsError

from imagegen.settings import describe_settings_error, read_settings

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


def test_a_space_sets_host_and_port() -> None:
    settings = read_settings([], SPACE)
    assert (settings.host, settings.port) == ("0.0.0.0", 7861)


def test_a_space_with_sign_in_sets_provider_and_administrator() -> None:
    settings = read_settings([], SPACE)
    assert settings.access_mode == "hf" and settings.is_on_spaces
    assert settings.public_url == "https://ann-studio.hf.space"
    assert settings.administrators == ("ann",)
    assert "a secret" not in repr(settings)


def test_a_space_may_have_a_name_of_its_own_besides() -> None:
    settings = read_settings([], SPACE | {"SPACE_HOST": "ann-studio.hf.space,paint.example.org"})
    assert settings.public_url == "https://ann-studio.hf.space" and settings.hosts == ("paint.example.org",)


@pytest.mark.parametrize("flags", [["--access", "keys"], ["--access", "hf"], ["--open-to-network"]])
def test_other_machines_are_allowed_when_access_is_configured(flags: list[str]) -> None:
    assert read_settings(["--host", "0.0.0.0", *flags], {}).host == "0.0.0.0"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "studio.local"])
def test_listening_to_other_machines_needs_sign_in_or_a_setting(host: str) -> None:
    with pytest.raises(ValidationError, match="without sign-in"):
        read_settings(["--host", host], {})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.5", "::1", "localhost"])
def test_this_machine_alone_needs_no_sign_in(host: str) -> None:
    assert read_settings(["--host", host], {}).access_mode == "open"


@pytest.mark.parametrize(
    ("flag", "value", "normalized"),
    [
        ("host", "[::1]", "::1"), ("public_url", "", None), ("public_url", "https://A.example:443/", "https://a.example"),
        ("public_url", "http://a:8080/studio/", "http://a:8080/studio"), ("hosts", "A.lan, [::1]", ("a.lan", "::1")),
        ("origins", "https://A.example/, http://b:80,app://c", ("https://a.example", "http://b", "app://c")),
        ("trusted_proxies", "", ()), ("trusted_proxies", "10.0.0.5/8,::1", ("10.0.0.5/8", "::1")),
    ],
)  # fmt: skip
def test_addresses_are_read_in_any_usual_form(flag: str, value: str, normalized: Any) -> None:
    assert getattr(read_settings([f"--{flag.replace('_', '-')}={value}"], {}), flag) == normalized


@pytest.mark.parametrize(
    ("flag", "value", "allowed"),
    [
        ("public_url", "studio.example", "such as https://example.org"), ("public_url", "ftp://a", "such as https://"),
        ("public_url", "https://a?b", "such as https://"), ("public_url", "https://", "such as https://"),
        ("hosts", "a.lan:7860", "must be without a port: a.lan"), ("hosts", "https://a.lan", "is not a host name"),
        ("hosts", "*.lan", "is not a host name"), ("origins", "*", "such as https://example.org"),
        ("origins", "https://a/b", "an address without a path"),
        ("trusted_proxies", "nginx", "is not an IP address or a network"), ("trusted_proxies", "*", "10.0.0.0/8"),
    ],
)  # fmt: skip
def test_a_wrong_address_is_refused(flag: str, value: str, allowed: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(allowed)) as raised:
        read_settings([f"--{flag.replace('_', '-')}={value}"], {})
    assert raised.value.errors()[0]["loc"] == (flag,)


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


@pytest.mark.parametrize("flags", [["--port", "many"], ["--port", "70000"], ["--port", "0"], ["--worker", "magic"]])
def test_a_wrong_value_is_named(flags: list[str]) -> None:
    with pytest.raises(ValidationError, match=flags[0].removeprefix("--")):
        read_settings(flags, {})


def test_a_secret_may_begin_like_a_flag() -> None:
    secret = read_settings([], SPACE | {"OAUTH_CLIENT_SECRET": "-secret"}).oauth_client_secret
    assert secret is not None and secret.get_secret_value() == "-secret"


@pytest.mark.parametrize(
    ("flag", "devices"),
    [
        ("auto", ("auto",)),
        ("cuda", ("cuda",)),
        ("cuda:0, cuda:1", ("cuda:0", "cuda:1")),
        ("cpu,cpu", ("cpu", "cpu")),
        ("cuda:0,cpu", ("cuda:0", "cpu")),
    ],
)
def test_devices_are_a_list_with_commas(flag: str, devices: tuple[str, ...]) -> None:
    assert read_settings(["--device", flag], {}).device == devices


def test_without_a_setting_the_device_is_chosen() -> None:
    assert read_settings([], {}).device == ("auto",)


@pytest.mark.parametrize("flag", ["gpu", "cuda:x", "", "cuda:0,cuda:0", "cuda,cuda:0", "mps,mps", "auto,cpu"])
def test_a_wrong_list_of_devices_is_refused(flag: str) -> None:
    with pytest.raises(ValidationError, match="device"):
        read_settings(["--device", flag], {})


@pytest.mark.parametrize("flag", ["cpu,cpu", "cuda:1"])
def test_an_inline_worker_has_one_device(flag: str) -> None:
    with pytest.raises(ValidationError, match="inline runs on one device"):
        read_settings(["--worker", "inline", "--device", flag], {})


def describe(flags: list[str]) -> str:
    try:
        read_settings(flags, {})
    except (ValidationError, SettingsError) as error:
        return describe_settings_error(error)
    raise AssertionError("the settings were accepted")


def test_a_wrong_value_is_described_in_a_line_with_its_flag_and_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_MAX_QUEUED", "none")
    port, max_queued = describe(["--port", "70000"]).splitlines()
    assert port.startswith("port: ") and port.endswith("(it is '70000'; set it with --port or STUDIO_PORT)")
    assert "it is 'none'; set it with --max-queued or STUDIO_MAX_QUEUED" in max_queued


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--prot", "1"], "unrecognized arguments: --prot 1; `python app.py --help` lists all settings"),
        (["--port"], "argument --port: expected one argument; `python app.py --help` lists all settings"),
    ],
)
def test_a_wrong_flag_is_described_in_a_line(flags: list[str], line: str) -> None:
    assert describe(flags) == line


def test_a_rule_for_several_settings_is_described_by_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    assert describe(["--host", "0.0.0.0"]).startswith("host: 0.0.0.0 can be reached from other machines")
    monkeypatch.setenv("STUDIO_SESSION_SECRET", "short secret")
    assert describe([]) == "session_secret: must have at least 32 bytes"
