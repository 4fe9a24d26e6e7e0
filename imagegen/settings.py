"""Every setting: one frozen object, read once from the environment and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

ASSETS = Path(__file__).parent.parent / "assets"


class Settings(BaseSettings):
    """Each can be given as --name on the command line or as STUDIO_NAME in the environment."""

    model_config = SettingsConfigDict(
        env_prefix="STUDIO_",
        frozen=True,
        cli_kebab_case=True,
        cli_prog_name="app.py",
        cli_implicit_flags=True,
        populate_by_name=True,
    )

    host: str = Field(
        "127.0.0.1",
        validation_alias=AliasChoices("host", "STUDIO_HOST", "GRADIO_SERVER_NAME"),
        description="Address to listen on.",
    )
    port: int = Field(
        7860,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("port", "STUDIO_PORT", "GRADIO_SERVER_PORT"),
        description="Port to listen on.",
    )
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
