"""Every setting: one frozen object, read once from the environment and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

# What a Hugging Face Space sets, and what it means here.
OF_GRADIO = {"GRADIO_SERVER_NAME": "host", "GRADIO_SERVER_PORT": "port"}
LowMemory = Literal["auto", "off", "encoders", "offload", "layers"]
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
