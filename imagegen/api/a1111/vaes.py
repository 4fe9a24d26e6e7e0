"""VAEs under the web UI's names."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from imagegen.api.a1111.field_types import build_json_schema
from imagegen.errors import attribute_errors_to
from imagegen.model_manager import ModelManager
from imagegen.schema.base import FrozenModel
from imagegen.schema.validation import parse_request

VAE_FIELD = "sd_vae"
# The web UI's names for the VAE of the model itself.
AUTOMATIC = "Automatic"
OWN = (AUTOMATIC, "None", "")
VAE_DESCRIPTION = f"A name from sd-vae. {AUTOMATIC} or None: the model's own."
VAE_SCHEMA = build_json_schema(type=["string", "null"], description=VAE_DESCRIPTION)


class Vae(FrozenModel):
    """`model_name` is the name by which a VAE is chosen."""

    model_name: str
    filename: str = Field(description="The same name; the studio does not show the paths of files.")


def list_vaes(model_manager: ModelManager) -> list[Vae]:
    """Returns the VAEs on disk. Reads the disk."""
    return [Vae(model_name=info.id, filename=info.id) for info in model_manager.list_adapters("vae")]


def resolve_vae(model_manager: ModelManager, name: Any) -> str | None:
    """Returns the id of a VAE on disk, from its id or the name of its file; None for the model's own.

    Reads the disk. Raises InvalidRequest, UnknownModel, UnusableModel and NotOnDisk.
    """
    with attribute_errors_to(VAE_FIELD):
        if name is None or name in OWN:
            return None
        reference = parse_request({"prompt": VAE_FIELD, "vae": name}).vae
        return reference and model_manager.library.adapters["vae"].get(reference).info.id
