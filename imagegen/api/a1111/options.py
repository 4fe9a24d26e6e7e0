"""The options of the web UI: each user chooses their own model and VAE; others that change pictures are fixed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from imagegen.api.a1111.checkpoints import find_sha256
from imagegen.api.a1111.field_types import build_json_schema
from imagegen.api.a1111.fixed_fields import OVERRIDE_SETTINGS_FIXED, FixedField, create_fields_model
from imagegen.api.a1111.vaes import AUTOMATIC, VAE_DESCRIPTION, VAE_SCHEMA
from imagegen.schema.base import FrozenModel, User
from imagegen.service import Service

SEND_SEED_DESCRIPTION = "An option of the web UI's page, which the studio keeps for its user until it stops."
CHOSEN_VAE_DESCRIPTION = f"{VAE_DESCRIPTION} The studio keeps it for its user until it stops."
NO_MAPS_DESCRIPTION = (
    "Whether the control maps of units are left out of answers. The studio keeps it for its user until it stops."
)
# The users whose options are kept: those who changed one last.
MAX_USERS = 1000
CHECKPOINT_DESCRIPTION = "A title from sd-models."


class Options(FrozenModel):
    sd_model_checkpoint: str = Field(description=CHECKPOINT_DESCRIPTION)
    sd_checkpoint_hash: str | None = Field(None, description="The SHA-256 in sd-models.")
    sd_vae: str = Field(AUTOMATIC, description=CHOSEN_VAE_DESCRIPTION)
    CLIP_stop_at_last_layers: int = 1
    samples_format: str = "png"
    samples_save: bool = True
    enable_pnginfo: bool = True
    live_previews_enable: bool = True
    show_progress_every_n_steps: int = 1
    randn_source: str = "CPU"
    eta_noise_seed_delta: int = 0
    send_seed: bool = Field(True, description=SEND_SEED_DESCRIPTION)
    control_net_no_detectmap: bool = Field(False, description=NO_MAPS_DESCRIPTION)


class NewOptions(BaseModel):
    """Accepts everything that GET options returns. Options that the studio does not have are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())
    sd_model_checkpoint: Annotated[
        Any, build_json_schema(type=["string", "null"], description=CHECKPOINT_DESCRIPTION)
    ] = None
    sd_vae: Annotated[Any, VAE_SCHEMA] = None
    send_seed: StrictBool | None = Field(None, description=SEND_SEED_DESCRIPTION)
    control_net_no_detectmap: StrictBool | None = Field(None, description=NO_MAPS_DESCRIPTION)


OPTIONS_FIXED = OVERRIDE_SETTINGS_FIXED | {
    "CLIP_stop_at_last_layers": FixedField((1,), "clip_skip in a request sets it for one picture"),
    "samples_format": FixedField(("png",), "override_settings of a request set it for one answer"),
}
NewOptionsBody = create_fields_model("NewOptions", NewOptions, OPTIONS_FIXED, {})


@dataclass(frozen=True)
class UserOptions:
    """What one user set. `send_seed` is for the web UI's page, and has no effect on pictures; `vae` is None for the
    model's own; with `no_detected_maps`, no control maps follow the pictures of an answer.
    """

    send_seed: bool = True
    vae: str | None = None
    no_detected_maps: bool = False


class OptionStore:
    """What users set besides their model, in memory."""

    def __init__(self) -> None:
        self._options: dict[str, UserOptions] = {}

    def get(self, user: User) -> UserOptions:
        return self._options.get(user.id, UserOptions())

    def set(self, user: User, options: UserOptions) -> None:
        self._options.pop(user.id, None)
        self._options[user.id] = options
        while len(self._options) > MAX_USERS:
            del self._options[next(iter(self._options))]


async def build_options(service: Service, user: User, options: UserOptions) -> Options:
    model = await service.get_model_choice(user)
    return Options(
        sd_model_checkpoint=model,
        sd_checkpoint_hash=await asyncio.to_thread(find_sha256, service.model_manager, model),
        sd_vae=options.vae or AUTOMATIC,
        send_seed=options.send_seed,
        control_net_no_detectmap=options.no_detected_maps,
    )
