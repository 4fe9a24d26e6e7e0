"""What is said between the web process and its child: one JSON object a line, each way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from imagegen.schema import GenerationRequest, Message, ModelInfo
from imagegen.workers.base import Report


class Load(Message):
    """The first thing a worker hears. Paths are absolute."""

    type: Literal["load"] = "load"
    model: ModelInfo
    models_dir: Path
    data_dir: Path
    device: str
    log_format: str
    log_dir: Path | None = None


class Run(Message):
    type: Literal["run"] = "run"
    job_id: str
    request: GenerationRequest
    previews: bool


class Cancel(Message):
    type: Literal["cancel"] = "cancel"
    job_id: str


class Previews(Message):
    type: Literal["previews"] = "previews"
    job_id: str
    wanted: bool


Order = Annotated[Load | Run | Cancel | Previews, Field(discriminator="type")]
ORDER: TypeAdapter[Order] = TypeAdapter(Order)
REPORT: TypeAdapter[Report] = TypeAdapter(Report)


def line(message: Message) -> bytes:
    return message.model_dump_json().encode() + b"\n"
