"""The options of the web UI: each user chooses their own model, and others that change pictures are fixed."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from imagegen.api.a1111.checkpoints import find_sha256
from imagegen.api.a1111.field_types import build_json_schema
from imagegen.api.a1111.fixed_fields import OVERRIDE_SETTINGS_FIXED, FixedField, create_fields_model
from imagegen.schema.base import FrozenModel, User
from imagegen.service import Service

SEND_SEED_DESCRIPTION = "An option of the web UI's page, which the studio keeps for its user until it stops."
# The users whose options are kept: those who changed one last.
MAX_USERS = 1000
CHECKPOINT_DESCRIPTION = "A title from sd-models."


class Options(FrozenModel):
    sd_model_checkpoint: str = Field(description=CHECKPOINT_DESCRIPTION)
    sd_checkpoint_hash: str | None = Field(None, description="The SHA-256 in sd-models.")
    sd_vae: str = "Automatic"
    CLIP_stop_at_last_layers: int = 1
    samples_format: str = "png"
    samples_save: bool = True
    enable_pnginfo: bool = True
    live_previews_enable: bool = True
    show_progress_every_n_steps: int = 1
    randn_source: str = "CPU"
    eta_noise_seed_delta: int = 0
    send_seed: bool = Field(True, description=SEND_SEED_DESCRIPTION)


class NewOptions(BaseModel):
    """Accepts everything that GET options returns. Options that the studio does not have are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())
    sd_model_checkpoint: Annotated[
        Any, build_json_schema(type=["string", "null"], description=CHECKPOINT_DESCRIPTION)
    ] = None
    send_seed: StrictBool | None = Field(None, description=SEND_SEED_DESCRIPTION)


OPTIONS_FIXED = OVERRIDE_SETTINGS_FIXED | {
    "CLIP_stop_at_last_layers": FixedField((1,), "clip_skip in a request sets it for one picture"),
    "samples_format": FixedField(("png",), "override_settings of a request set it for one answer"),
}
NewOptionsBody = create_fields_model("NewOptions", NewOptions, OPTIONS_FIXED, {})


class PageOptions:
    """What users set for the web UI's page, in memory. It has no effect on pictures."""

    def __init__(self) -> None:
        self._send_seed: dict[str, bool] = {}

    def get_send_seed(self, user: User) -> bool:
        return self._send_seed.get(user.id, True)

    def set_send_seed(self, user: User, value: bool) -> None:
        self._send_seed.pop(user.id, None)
        self._send_seed[user.id] = value
        while len(self._send_seed) > MAX_USERS:
            del self._send_seed[next(iter(self._send_seed))]


async def build_options(service: Service, user: User, page_options: PageOptions) -> Options:
    model = await service.get_model_choice(user)
    return Options(
        sd_model_checkpoint=model,
        sd_checkpoint_hash=await asyncio.to_thread(find_sha256, service.model_manager, model),
        send_seed=page_options.get_send_seed(user),
    )
