"""Every setting: one frozen object, read once from the environment and the command line."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

# What a Hugging Face Space sets, and what it means here.
OF_SPACES = {
    "GRADIO_SERVER_NAME": "host",
    "GRADIO_SERVER_PORT": "port",
    "OPENID_PROVIDER_URL": "openid_provider_url",
    "OAUTH_CLIENT_ID": "oauth_client_id",
    "OAUTH_CLIENT_SECRET": "oauth_client_secret",
    "OAUTH_SCOPES": "oauth_scopes",
    "SPACE_HOST": "public_url",
    "SPACE_AUTHOR_NAME": "administrators",
}
HUGGING_FACE = "https://huggingface.co"
Compile = Literal["auto", "on", "off"]
LowMemory = Literal["auto", "off", "encoders", "offload", "layers"]
ASSETS = Path(__file__).parent.parent / "assets"
SECRET_BYTES = 32


def split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split)]


class Settings(BaseSettings):
    """Each can be given as --name on the command line or as STUDIO_NAME in the environment."""

    model_config = SettingsConfigDict(
        env_prefix="STUDIO_",
        frozen=True,
        cli_kebab_case=True,
        cli_prog_name="app.py",
        cli_implicit_flags=True,
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(7860, ge=0, le=65535, description="Port to listen on.")
    access: Literal["auto", "open", "hf", "keys"] = Field(
        "auto",
        description="Who may use the studio. open: whoever reaches it; hf: who signs in with Hugging Face, or with"
        " another OpenID provider; keys: who has one of your keys; auto: hf where there is a client of the provider"
        " (oauth_client_id), as on a Space with hf_oauth, else open.",
    )
    open_to_network: bool = Field(False, description="Without sign-in, listen on more than this machine all the same.")
    allowed_users: Names = Field((), description="Who may sign in, by name, with commas. Empty: everybody.")
    allowed_organisations: Names = Field((), description="Organisations whose members may sign in too.")
    administrators: Names = Field((), description="Who may download and delete models, by name, with commas.")
    keys_file: Path | None = Field(None, description="Where the keys are. Empty: keys.json in the data folder.")
    openid_provider_url: str = Field(HUGGING_FACE, description="Who signs users in.")
    oauth_client_id: str | None = Field(None, description="Under which name the studio is registered there.")
    oauth_client_secret: SecretStr | None = Field(None, description="And with which secret.")
    oauth_scopes: str = Field("openid profile", description="What the provider is asked to tell.")
    session_secret: SecretStr | None = Field(
        None, description="At least 32 bytes that protect sessions. Empty: made once, and kept in the data folder."
    )
    public_url: str | None = Field(None, description="Where users find the studio, if it is behind a proxy.")
    hosts: Names = Field((), description="Names under which the studio may be asked for, with commas.")
    origins: Names = Field((), description="Web sites whose pages may call the API, such as https://example.org.")
    max_running: int = Field(16, ge=1, description="How many jobs may run at a time. They share each step.")
    running_per_user: int = Field(4, ge=1, description="How many jobs of one user may run at a time.")
    queued_per_user: int = Field(16, ge=1, description="How many jobs of one user may wait.")
    requests_per_minute: int = Field(
        120, ge=1, description="How many jobs, and as many pictures to start from, one user may send in a minute."
    )
    data_dir: Path = Field(Path("data"), description="Where jobs, pictures and uploads are kept.")
    models_dir: Path = Field(Path("models"), description="Models of your own, and those that are downloaded.")
    device: Literal["auto", "cuda", "mps", "cpu"] = Field("auto", description="Where the engine runs.")
    max_download_gb: float = Field(100, gt=0, description="The largest model that may be downloaded, in GB.")
    gpu_memory_gb: float | None = Field(
        None, gt=0, description="How much memory of the GPU models may take, in GB. Empty: what it has, less a reserve."
    )
    memory_gb: float | None = Field(
        None, gt=0, description="How much main memory models may take, in GB. Empty: half of what the machine has."
    )
    low_memory: LowMemory = Field(
        "auto",
        description="How models share a small GPU. off: all on it; encoders: text encoders only while they work;"
        " offload: one part at a time; layers: one layer at a time, slow; auto: as much of this as is needed.",
    )
    compile: Compile = Field(
        "auto",
        description="Whether networks that work often are compiled, in the background, for what they do. auto: on a"
        " GPU. It needs a C++ compiler; what was compiled is kept in the data folder.",
    )
    exact: bool = Field(
        False,
        description="Compute each job by itself, so that its picture does not depend, in the last digits, on who else"
        " is there. Slower when several are.",
    )
    output_cache: bool = Field(
        False,
        description="Answer a request that names its seed, and that the same user sent before, with the pictures of"
        " then. Their receipts say so.",
    )
    worker: Literal["local", "inline"] = Field(
        "local", description="local: a child process; inline: this process, for hosts that forbid children."
    )
    max_queued: int = Field(64, ge=1, description="How many jobs may wait before new ones are refused.")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="auto: text on a terminal, JSON lines elsewhere."
    )
    log_dir: Path | None = Field(None, description="A folder that gets the log too, as JSON lines.")

    @property
    def mode(self) -> Literal["open", "hf", "keys"]:
        if self.access == "auto":
            return "hf" if self.oauth_client_id else "open"
        return self.access

    @property
    def is_at_hugging_face(self) -> bool:
        """Whether pages are shown inside those of the Hub."""
        return (self.public_url or "").endswith(".hf.space")

    @model_validator(mode="after")
    def is_safe(self) -> Self:
        if self.mode == "open" and not is_loopback(self.host) and not self.open_to_network:
            raise ValueError(
                f"host: {self.host} can be reached from other machines, and nobody has to sign in. Say who may use the"
                " studio with access=hf (on a Space, hf_oauth: true in its README) or access=keys, or that everybody"
                " may with open_to_network=true"
            )
        if self.session_secret is not None and len(self.session_secret.get_secret_value().encode()) < SECRET_BYTES:
            raise ValueError(f"session_secret: must have at least {SECRET_BYTES} bytes")
        return self


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_settings(arguments: list[str], environment: Mapping[str, str]) -> Settings:
    """From the command line, the environment, and what Spaces set. Raises pydantic's ValidationError."""
    of_spaces = {name: environment[theirs] for theirs, name in OF_SPACES.items() if environment.get(theirs)}
    if "public_url" in of_spaces:
        name, *others = split(of_spaces["public_url"])
        of_spaces |= {"public_url": f"https://{name}"} | ({"hosts": ",".join(others)} if others else {})
    ours = {name: value for name, value in of_spaces.items() if f"STUDIO_{name.upper()}" not in environment}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in ours.items()]
    return Settings(_cli_parse_args=[*flags, *arguments])
