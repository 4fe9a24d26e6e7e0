"""Reference pictures: pictures that the new one is to be like, in what they show or in style."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from imagegen.schema.base import FrozenModel
from imagegen.schema.field_types import NUMBER_VALIDATOR, ImageId, Reference
from imagegen.schema.markers import InputImage

MAX_REFERENCES = 4


class ReferencePicture(FrozenModel):
    """One picture to look at, and the IP-Adapter through which a model does so that cannot itself.

    With weight 0 it has no effect.
    """

    model_config = ConfigDict(
        json_schema_extra={"example": {"image": "…", "ip_adapter": "ip-adapter_sd15", "weight": 0.6}}
    )

    image: Annotated[ImageId, InputImage("rgb")] = Field(description="The picture to look at.")
    ip_adapter: Reference | None = Field(
        None,
        description="A name from the list of IP-Adapters, or a Hugging Face repository, with a file if it has several."
        " Only for models that need one.",
    )
    weight: Annotated[float, Field(ge=0, le=2), NUMBER_VALIDATOR] = Field(
        1.0, description="How much it counts. Only with an IP-Adapter."
    )
