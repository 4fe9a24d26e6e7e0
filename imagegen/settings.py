"""All settings in one frozen object, read once from the environment and the command line."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from imagegen.file_names import check_pattern
from imagegen.origins import Origin, parse_host, parse_origin

# Environment variables of a Hugging Face Space, and the settings that they set.
SPACE_VARIABLES = {
    "GRADIO_SERVER_NAME": "host",
    "GRADIO_SERVER_PORT": "port",
    "OPENID_PROVIDER_URL": "openid_provider_url",
    "OAUTH_CLIENT_ID": "oauth_client_id",
    "OAUTH_CLIENT_SECRET": "oauth_client_secret",
    "OAUTH_SCOPES": "oauth_scopes",
    "SPACE_HOST": "public_url",
    "SPACE_AUTHOR_NAME": "administrators",
}
HUGGING_FACE_URL = "https://huggingface.co"
CompileMode = Literal["auto", "on", "off"]
LowMemoryMode = Literal["auto", "off", "encoders", "offload", "layers"]
# GPUs are numbered as CUDA numbers them.
DEVICE_PATTERN = re.compile(r"auto|cuda(:\d+)?|mps|cpu")
ASSETS_DIR = Path(__file__).parent.parent / "assets"
SESSION_SECRET_BYTES = 32


def split_names(value: Any) -> Any:
    """Splits a text at commas into a tuple of names; other values are returned as they are."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def check_devices(devices: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the devices unchanged. Raises ValueError for unknown ones, and for one that cannot be shared."""
    for device in devices:
        if not DEVICE_PATTERN.fullmatch(device):
            raise ValueError(f"{device!r} is not a device; it can be auto, cuda, cuda:0, mps or cpu")
    used = Counter("cuda:0" if device == "cuda" else device for device in devices)
    shared = [device for device, count in used.items() if count > 1 and device != "cpu"]
    if not devices or shared or ("auto" in devices and len(devices) > 1):
        raise ValueError("name each device once, such as cuda:0,cuda:1, or auto alone")
    return devices


def normalize_public_url(text: str | None) -> str | None:
    """Returns the address without a slash at the end, and None if it is empty. Raises ValueError."""
    if not text:
        return None
    scheme, authority, path, query, fragment = urlsplit(text)
    if scheme not in ("http", "https") or query or fragment:
        raise ValueError(f"{text!r} is not an address such as https://example.org or https://example.org/studio")
    return f"{parse_origin(f'{scheme}://{authority}')}{path.rstrip('/')}"


def normalize_hosts(names: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the names in lower case. Raises ValueError for anything else, such as an address with a port."""
    hosts = [parse_host(name) for name in names]
    for name, host in zip(names, hosts, strict=True):
        if host.port is not None:
            raise ValueError(f"{name!r} must be without a port: {host.name}")
    return tuple(host.name for host in hosts)


def normalize_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the origins as browsers send them. Raises ValueError."""
    return tuple(str(parse_origin(origin.rstrip("/"))) for origin in origins)


def check_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the networks unchanged. Raises ValueError."""
    for network in networks:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            raise ValueError(f"{network!r} is not an IP address or a network, such as 10.0.0.5 or 10.0.0.0/8") from None
    return networks


NameList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_names)]
DeviceList = Annotated[NameList, AfterValidator(check_devices)]


class Settings(BaseSettings):
    """Each can be given as --name on the command line or as STUDIO_NAME in the environment."""

    model_config = SettingsConfigDict(
        env_prefix="STUDIO_",
        frozen=True,
        cli_kebab_case=True,
        cli_prog_name="app.py",
        cli_implicit_flags=True,
        cli_exit_on_error=False,
    )

    host: Annotated[str, AfterValidator(lambda host: host.strip("[]"))] = Field(
        "127.0.0.1",
        description="Address to listen on: 127.0.0.1 or ::1 for this machine only, 0.0.0.0 for all IPv4 addresses, ::"
        " for all IPv6 addresses.",
    )
    port: int = Field(7860, ge=1, le=65535, description="Port to listen on.")
    access: Literal["auto", "open", "hf", "keys"] = Field(
        "auto",
        description="Who may use the studio. open: everyone who can reach it; hf: users who sign in with Hugging Face"
        " or another OpenID provider; keys: users who have one of your keys; auto: hf if oauth_client_id is set, as on"
        " a Space with hf_oauth, otherwise open.",
    )
    open_to_network: bool = Field(False, description="Allow other machines to connect without sign-in.")
    allowed_users: NameList = Field((), description="Names of users who may sign in, separated by commas. Empty: all.")
    allowed_organisations: NameList = Field(
        (), description="Organisations whose members may also sign in, separated by commas."
    )
    administrators: NameList = Field(
        (),
        description="Names of users who may download and delete models, export and purge users; with commas between.",
    )
    keys_file: Path | None = Field(None, description="The file with the keys. Empty: keys.json in the data folder.")
    openid_provider_url: str = Field(HUGGING_FACE_URL, description="Address of the provider that signs users in.")
    oauth_client_id: str | None = Field(None, description="Client id of the studio at the provider.")
    oauth_client_secret: SecretStr | None = Field(None, description="Client secret of the studio at the provider.")
    oauth_scopes: str = Field("openid profile", description="Scopes to request from the provider.")
    session_secret: SecretStr | None = Field(
        None, description="A secret of at least 32 bytes that protects sessions. Empty: created in the data folder."
    )
    public_url: Annotated[str | None, AfterValidator(normalize_public_url)] = Field(
        None, description="Address of the studio for users, if it is behind a proxy, with the path if it has one."
    )
    hosts: Annotated[NameList, AfterValidator(normalize_hosts)] = Field(
        (), description="Host names under which users may reach the studio, separated by commas."
    )
    origins: Annotated[NameList, AfterValidator(normalize_origins)] = Field(
        (), description="Other web sites whose pages may call the API, such as https://example.org."
    )
    trusted_proxies: Annotated[NameList, AfterValidator(check_networks)] = Field(
        ("127.0.0.0/8", "::1"),
        description="Addresses and networks of proxies whose X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host"
        " are believed, separated by commas.",
    )
    max_running: int = Field(16, ge=1, description="How many jobs may run at a time on each device. They share steps.")
    running_per_user: int = Field(4, ge=1, description="How many jobs of one user may run at a time.")
    queued_per_user: int = Field(16, ge=1, description="How many jobs of one user may wait.")
    requests_per_minute: int = Field(
        120,
        ge=1,
        description="How many jobs, and as many uploads, one user may send in a minute. Invalid requests count too.",
    )
    request_timeout: float = Field(
        30,
        gt=0,
        description="Seconds that a client may take to send the headers of a request, and again for its body. A large"
        " body has more: one second for each 16 kB.",
    )
    upload_mb_per_minute: float = Field(
        600, gt=0, description="How much one user may send in a minute, in MB: start images and everything else."
    )
    connections_per_address: int = Field(
        512,
        ge=1,
        description="How many requests and WebSockets one address may have open at a time. Addresses of this machine"
        " have no limit.",
    )
    sockets_per_user: int = Field(
        16, ge=1, description="How many WebSockets one user may have open, and one address before its users sign in."
    )
    data_dir: Path = Field(Path("data"), description="Folder for jobs, pictures and uploads.")
    recover: bool = Field(
        False,
        description="Replace a damaged database by one with all that can be read of it, and keep the damaged file.",
    )
    min_free_gb: float = Field(
        0.1, ge=0, description="Disk space that stays free, in GB. With less, new jobs are refused."
    )
    file_name_pattern: Annotated[str, AfterValidator(check_pattern)] = Field(
        "{prompt}-{seed}",
        description="Names of downloaded pictures, without an ending. Fields: {prompt}, {seed}, {model}, {width},"
        " {height}, {steps}, {date}, {time}.",
    )
    keep_days: float | None = Field(
        None, gt=0, description="Days after which pictures are deleted, but for favourites. Empty: never."
    )
    library_gb_per_user: float | None = Field(
        None,
        gt=0,
        description="Disk space for the pictures of one user, in GB. Beyond it, the oldest are deleted, but for"
        " favourites. Empty: no limit.",
    )
    library_gb: float | None = Field(
        None, gt=0, description="The same for the pictures of all users, in GB. Empty: no limit."
    )
    drain_timeout: float = Field(
        60, ge=0, description="Seconds that running jobs may take to finish when the studio stops."
    )
    models_dir: Path = Field(Path("models"), description="Folder for your own models and for downloaded ones.")
    follow_links: bool = Field(
        False, description="Allow symbolic links in the models folder that lead out of it. Otherwise they are refused."
    )
    device: DeviceList = Field(
        ("auto",),
        description="Device of the engine: cuda, mps or cpu, or several with commas, such as cuda:0,cuda:1, with"
        " a worker on each. auto: all GPUs, or else the CPU.",
    )
    max_megapixels: float = Field(
        68, gt=0, description="The largest picture that an upscaler may make, in millions of pixels."
    )
    max_download_gb: float = Field(100, gt=0, description="The largest model that may be downloaded, in GB.")
    gpu_memory_gb: float | None = Field(
        None, gt=0, description="GPU memory that models may use, in GB. Empty: all but a reserve."
    )
    memory_gb: float | None = Field(
        None, gt=0, description="Main memory for models of all devices, in GB. Empty: half of the machine's."
    )
    worker_memory_gb: float | None = Field(
        None,
        gt=0,
        description="Main memory that a worker on the CPU may use in all, in GB; a job that needs more fails."
        " Empty: 95 % of the machine's, divided by the workers.",
    )
    low_memory: LowMemoryMode = Field(
        "auto",
        description="How to run models on a small GPU. off: keep them on it; encoders: offload unused text encoders;"
        " offload: keep one component on it at a time; layers: one layer at a time, slow; auto: what is needed.",
    )
    compile: CompileMode = Field(
        "auto",
        description="Whether to compile frequently used networks in the background. auto: on a GPU. Needs a C++"
        " compiler; compiled networks are kept in the data folder.",
    )
    exact: bool = Field(
        False,
        description="Run each job's denoising steps separately, so that no picture depends, in its last digits, on"
        " the other jobs. Slower with several jobs.",
    )
    output_cache: bool = Field(
        False,
        description="Answer a request that has a seed, and that the same user sent before, with the stored pictures."
        " Their receipts are marked as cached.",
    )
    openai_aliases: bool = Field(
        True,
        description="Whether OpenAI's model names, such as gpt-image-1 and dall-e-3, mean the default model in OpenAI's"
        " API, with the nearest size that it can make.",
    )
    worker: Literal["local", "inline"] = Field(
        "local", description="local: a child process; inline: this process, for hosts that forbid child processes."
    )
    heartbeat_timeout: float = Field(
        30, gt=0, description="Seconds after which a silent worker is restarted. Its jobs fail with worker_hung."
    )
    step_timeout: float = Field(
        600,
        gt=0,
        description="Seconds without any progress of its jobs after which a worker is restarted. A worker whose steps"
        " are slow gets 20 times its slowest step.",
    )
    max_queued: int = Field(64, ge=1, description="How many jobs may wait in all. More are refused.")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="auto: text on a terminal, JSON lines elsewhere."
    )
    log_prompts: bool = Field(
        True, description="Log the prompts of finished jobs. Without it, their SHA-256 and their length are logged."
    )
    log_dir: Path | None = Field(None, description="Folder for log files, as JSON lines. Empty: no files.")

    @property
    def access_mode(self) -> Literal["open", "hf", "keys"]:
        """The mode of `access`, with "auto" resolved."""
        if self.access == "auto":
            return "hf" if self.oauth_client_id else "open"
        return self.access

    @property
    def public_origin(self) -> Origin | None:
        """The scheme, host and port of `public_url`."""
        return parse_origin("/".join(self.public_url.split("/")[:3])) if self.public_url else None

    @property
    def is_on_spaces(self) -> bool:
        """Whether the studio runs on a Space, where its page is shown in a frame of the Hub's."""
        return (self.public_url or "").endswith(".hf.space")

    @model_validator(mode="after")
    def check_worker(self) -> Self:
        if self.worker == "inline" and any(":" in device or len(self.device) > 1 for device in self.device):
            raise ValueError("worker: inline runs on one device, without a number; use worker=local for others")
        return self

    @model_validator(mode="after")
    def check_safety(self) -> Self:
        if self.access_mode == "open" and not is_loopback(self.host) and not self.open_to_network:
            raise ValueError(
                f"host: {self.host} can be reached from other machines, without sign-in. Require sign-in with access=hf"
                " (on a Space, hf_oauth: true in its README) or access=keys, or allow everyone with"
                " open_to_network=true"
            )
        if (
            self.session_secret is not None
            and len(self.session_secret.get_secret_value().encode()) < SESSION_SECRET_BYTES
        ):
            raise ValueError(f"session_secret: must have at least {SESSION_SECRET_BYTES} bytes")
        return self


def is_loopback(host: str) -> bool:
    """Returns whether a host name or address is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_settings(arguments: list[str], environment: Mapping[str, str]) -> Settings:
    """Returns the settings from the command line, the environment, and a Space's variables, in this order.

    Raises pydantic's ValidationError, and SettingsError for a flag that does not exist; see describe_settings_error.
    """
    space_values = {
        name: environment[variable] for variable, name in SPACE_VARIABLES.items() if environment.get(variable)
    }
    if "public_url" in space_values:
        name, *others = split_names(space_values["public_url"])
        space_values |= {"public_url": f"https://{name}"} | ({"hosts": ",".join(others)} if others else {})
    effective = {name: value for name, value in space_values.items() if f"STUDIO_{name.upper()}" not in environment}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in effective.items()]
    return Settings(_cli_parse_args=[*flags, *arguments])


def describe_settings_error(error: ValidationError | SettingsError) -> str:
    """Returns one line for each wrong value: the setting, what is wrong, the value, and where it can be set."""
    if isinstance(error, SettingsError):
        return f"{str(error).removeprefix('error parsing CLI: ')}; `python app.py --help` lists all settings"
    lines = []
    for each in error.errors():
        message = each["msg"].removeprefix("Value error, ")
        if not each["loc"]:  # A rule for several settings: the message names them.
            lines.append(message)
            continue
        name = str(each["loc"][0])
        is_secret = SecretStr in get_args(Settings.model_fields[name].annotation)
        value = "" if is_secret else f"it is {each['input']!r}; "
        flag, variable = f"--{name.replace('_', '-')}", f"STUDIO_{name.upper()}"
        lines.append(f"{name}: {message} ({value}set it with {flag} or {variable})")
    return "\n".join(lines)
