"""The options of the web UI: everybody has his own model here, and all else is as it is."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from imagegen.api.a1111.checkpoints import chosen
from imagegen.api.a1111.fixed import SETTINGS, Only, with_fixed
from imagegen.api.a1111.requests import schema
from imagegen.schema import Message, User
from imagegen.service import Service

TITLE = "A title from sd-models."


class Options(Message):
    sd_model_checkpoint: str = Field(description=TITLE)
    sd_checkpoint_hash: str | None = None
    sd_vae: str = "Automatic"
    CLIP_stop_at_last_layers: int = 1
    samples_format: str = "png"
    samples_save: bool = True
    enable_pnginfo: bool = True
    live_previews_enable: bool = True
    show_progress_every_n_steps: int = 1
    randn_source: str = "CPU"
    eta_noise_seed_delta: int = 0


class NewOptions(BaseModel):
    """Whatever GET options gives may come back. What is not known here is no option of the studio, and is not heard."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())
    sd_model_checkpoint: Annotated[Any, schema(type=["string", "null"], description=TITLE)] = None


ALWAYS = SETTINGS | {"CLIP_stop_at_last_layers": Only((1,), "clip_skip in a request says it for one picture")}
NewOptionsBody = with_fixed("NewOptions", NewOptions, ALWAYS, {})


def options(service: Service, user: User) -> Options:
    return Options(sd_model_checkpoint=chosen(service, user))
