"""Controls: pictures such as edges that a ControlNet makes the denoiser follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from imagegen.schema.base import FrozenModel
from imagegen.schema.field_types import NUMBER_VALIDATOR, ImageId, Reference
from imagegen.schema.markers import InputImage

MAX_CONTROLS = 4
# Where a request has a control map. Maps that are made to be looked at are stored as for this place.
MAP_PLACE = "controls[0].image"

# What makes a control map of a picture; "none" takes the picture as it is.
Preprocessor = Literal[
    "none", "canny", "softedge", "scribble", "gray", "tile", "color", "invert", "depth", "segmentation", "pose"
]
# Those that are networks, which must be on disk, and how many: poses need a detector of persons, too.
LEARNED_PREPROCESSORS: Mapping[Preprocessor, int] = {"depth": 1, "segmentation": 1, "pose": 2}
ControlMode = Literal["balanced", "prompt", "control"]
# What a control map shows. Union ControlNets must know it.
ControlType = Literal[
    "canny", "softedge", "depth", "normal", "pose", "segmentation", "tile", "blur", "gray", "low_quality"
]
# The type of the maps that a preprocessor makes, where it is one of those that union ControlNets know.
TYPE_BY_PREPROCESSOR: Mapping[Preprocessor, ControlType] = {
    "canny": "canny",
    "softedge": "softedge",
    "scribble": "softedge",
    "gray": "gray",
    "tile": "tile",
    "depth": "depth",
    "segmentation": "segmentation",
    "pose": "pose",
}
Share = Annotated[float, Field(ge=0, le=1), NUMBER_VALIDATOR]


class ControlUse(FrozenModel):
    """One ControlNet, and the picture that it follows. With weight 0 it has no effect."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"controlnet": "studio-edges", "image": "…", "preprocessor": "canny"}}
    )

    controlnet: Reference = Field(
        description="A name from the list of ControlNets, or a Hugging Face repository, with a file if it has several."
    )
    image: Annotated[ImageId, InputImage("rgb")] = Field(description="The picture to follow.")
    weight: Annotated[float, Field(ge=0, le=2), NUMBER_VALIDATOR] = Field(
        1.0, description="How strongly it is followed."
    )
    start: Share = Field(0.0, description="The share of the steps before it is followed.")
    end: Share = Field(1.0, description="The share of the steps after which it is followed no more.")
    preprocessor: Preprocessor = Field(
        "none", description="What makes a control map of the picture first; none if it is one already."
    )
    mode: ControlMode = Field(
        "balanced", description="Whether prompt and picture count alike, or the prompt or the control counts more."
    )

    control_type: ControlType | None = Field(
        None, description="What the control map shows, for a union ControlNet; open: what the preprocessor makes."
    )

    @field_validator("end")
    @classmethod
    def check_end(cls, value: float, info: ValidationInfo) -> float:
        if value <= info.data.get("start", 0):
            raise ValueError("must be greater than start")
        return value
