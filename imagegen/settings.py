"""Every setting: one frozen object, read once from the environment and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

# What a Hugging Face Space sets, and what it means here.
OF_GRADIO = {"GRADIO_SERVER_NAME": "host", "GRADIO_SERVER_PORT": "port"}
ASSETS = Path(__file__).parent.parent / "assets"


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
    data_dir: Path = Field(Path("data"), description="Where jobs, pictures and uploads are kept.")
    models_dir: Path = Field(ASSETS / "models", description="Where the models lie.")
    device: Literal["auto", "cuda", "mps", "cpu"] = Field("auto", description="Where the engine runs.")
    worker: Literal["local", "inline"] = Field(
        "local", description="local: a child process; inline: this process, for hosts that forbid children."
    )
    max_queued: int = Field(64, ge=1, description="How many jobs may wait before new ones are refused.")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="auto: text on a terminal, JSON lines elsewhere."
    )
    log_dir: Path | None = Field(None, description="A folder that gets the log too, as JSON lines.")


def read_settings(arguments: list[str], environment: Mapping[str, str]) -> Settings:
    """From the command line, the environment, and Gradio's own variables. Raises pydantic's ValidationError."""
    of_gradio = {name: environment[theirs] for theirs, name in OF_GRADIO.items() if theirs in environment}
    ours = {name: value for name, value in of_gradio.items() if f"STUDIO_{name.upper()}" not in environment}
    flags = [part for name, value in ours.items() for part in (f"--{name}", value)]
    return Settings(_cli_parse_args=[*flags, *arguments])
