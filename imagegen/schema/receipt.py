"""The receipt: everything that decided one picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from imagegen.schema.base import FrozenModel
from imagegen.schema.controls import ControlUse
from imagegen.schema.field_types import MaskArea, MaskFill
from imagegen.schema.reference_pictures import ReferencePicture
from imagegen.schema.request import GenerationRequest, LoraUse, list_task_fields
from imagegen.schema.sizes import Box, Size
from imagegen.schema.tasks import TASKS, TaskName, find_task


def is_empty(value: str | tuple[str, ...] | None) -> bool:
    """Returns whether a value is left out of the JSON."""
    return not value


class UsedLora(LoraUse):
    """`sha256` is of the LoRA's whole file."""

    sha256: str


class UsedEmbedding(FrozenModel):
    embedding: str
    sha256: str


class UsedControl(ControlUse):
    """`sha256` is of the ControlNet's weights.

    `preprocessor_model` is the id of a network that made the control map, and `preprocessor_sha256` is of its weights;
    `preprocessor_detector_sha256` is of those of the detector of persons, for poses.
    """

    sha256: str
    preprocessor_model: str | None = None
    preprocessor_sha256: str | None = None
    preprocessor_detector_sha256: str | None = None


class UsedReference(ReferencePicture):
    """`sha256` is of the IP-Adapter's file, `image_encoder_sha256` of its image encoder's; None if there is none."""

    sha256: str | None = None
    image_encoder_sha256: str | None = None


class RequestedAs(FrozenModel):
    """What a client sent, where the studio used something else: a model, a size as WIDTHxHEIGHT, prompts with choices.

    Prompts are as they were written, with wildcards. A receipt has no `more_prompts`: `prompt` is the
    picture's own.
    """

    model: str | None = None
    size: str | None = None
    prompt: str | None = Field(None, exclude_if=is_empty)
    negative_prompt: str | None = Field(None, exclude_if=is_empty)
    detail_prompt: str | None = Field(None, exclude_if=is_empty)
    more_prompts: tuple[str, ...] = Field((), exclude_if=is_empty)

    def for_picture(self, index: int, count: int) -> RequestedAs:
        """Returns what was sent for one of `count` pictures, each of whose prompts has equally many."""
        prompts = () if self.prompt is None else (self.prompt, *self.more_prompts)
        own = prompts[index * len(prompts) // count] if prompts else None
        return self.model_copy(update={"prompt": own, "more_prompts": ()})


class Receipt(FrozenModel):
    """All that decided one picture. The same receipt gives the same picture, if it is a finished one.

    Fields of the request have the same names here. `model_sha256` is of the checkpoint file, or of the denoiser's
    weights in a folder in diffusers format; None where an earlier version made the picture. `variation_seed` is None if
    `variation_strength` is 0, and all fields of the mask are None without a mask. `width` and `height` are those of the
    request, before the picture was made larger, and `final_width` and `final_height` those of the picture; None from
    earlier versions, where both were the same. `upscaler_sha256` and `hires_upscaler_sha256` are of the upscalers'
    files, None for a filter without one; `vae_sha256` is of the VAE's, None for the model's own, and
    `detail_detector_sha256` of the detector's. `detail_boxes` are the parts that were painted again, as left, top,
    right and bottom in pixels of the picture before an upscaler: none if the detector found nothing, None without one,
    or if the job was ended before. A picture that was made larger only has no model, seed and so on, and the width and
    height of its input picture. `unfinished_at_step` is the last step of a picture whose job was ended early, counted
    as progress counts it; None for a finished one. `cached` is whether the picture was made before, for the same
    request; the receipt inside its file says False. `requested` is None if the client named what was used:
    `prompt` is always the text that was painted.
    """

    prompt: str
    negative_prompt: str
    width: int
    height: int
    steps: int | None
    guidance_scale: float | None
    sampler: str | None
    seed: int | None
    clip_skip: int
    init_image: str | None
    strength: float | None
    model_id: str | None
    model_revision: str | None = None
    model_sha256: str | None = None
    loras: tuple[UsedLora, ...] = ()
    embeddings: tuple[UsedEmbedding, ...] = ()
    controls: tuple[UsedControl, ...] = ()
    references: tuple[UsedReference, ...] = ()
    vae: str | None = None
    vae_sha256: str | None = None
    quantization: str | None = None
    device: str
    dtype: str
    versions: dict[str, str]
    step_cache: float = 0.0
    variation_seed: int | None = None
    variation_strength: float = 0.0
    mask_image: str | None = None
    mask_blur: int | None = None
    mask_invert: bool | None = None
    mask_area: MaskArea | None = None
    mask_padding: int | None = None
    mask_fill: MaskFill | None = None
    extend_left: int = 0
    extend_right: int = 0
    extend_top: int = 0
    extend_bottom: int = 0
    extend_ratio: str | None = None
    hires_scale: float = 1.0
    hires_steps: int = 0
    hires_strength: float = GenerationRequest.model_fields["hires_strength"].default
    hires_upscaler: str | None = None
    hires_upscaler_sha256: str | None = None
    detail_detector: str | None = None
    detail_detector_sha256: str | None = None
    detail_label: str = ""
    detail_prompt: str = ""
    detail_strength: float = GenerationRequest.model_fields["detail_strength"].default
    detail_confidence: float = GenerationRequest.model_fields["detail_confidence"].default
    detail_padding: int = GenerationRequest.model_fields["detail_padding"].default
    detail_boxes: tuple[Box, ...] | None = None
    image: str | None = None
    scale: float = 1.0
    upscaler: str | None = None
    upscaler_sha256: str | None = None
    final_width: int | None = None
    final_height: int | None = None
    unfinished_at_step: int | None = None
    cached: bool = False
    requested: RequestedAs | None = None

    def to_request_fields(self) -> dict[str, Any]:
        """Returns the fields of a request for this picture alone."""
        own = GenerationRequest.model_fields.keys() - NOT_IN_RECEIPT.keys()
        values = {name: getattr(self, name) for name in own}
        fields = {name: value for name, value in values.items() if value is not None} | {
            "model": self.model_id,
            "loras": [{"lora": used.lora, "weight": used.weight} for used in self.loras],
            "embeddings": [used.embedding for used in self.embeddings],
            "controls": [used.model_dump(include={*ControlUse.model_fields}) for used in self.controls],
            "references": [used.model_dump(include={*ReferencePicture.model_fields}) for used in self.references],
        }
        of_task = list_task_fields(self.task)
        return {name: value for name, value in fields.items() if name in of_task}

    @property
    def size(self) -> Size:
        """Width and height of the picture in pixels."""
        return self.final_width or self.width, self.final_height or self.height

    @property
    def task(self) -> TaskName:
        """The task that made the picture, by the fields that it needs."""
        needed = {name for task in TASKS.values() for name in (*task.input_images, *task.fields)}
        return find_task({name for name in needed if getattr(self, name)})


# The fields of the request that are not in a receipt, each with the reason.
NOT_IN_RECEIPT: Mapping[str, str] = {
    "batch_size": "a receipt is of one picture, and `seed` is its own",
    "more_prompts": "a receipt is of one picture, and `prompt` is its own",
    "model": "`model_id` and `model_revision` say which model the reference meant",
}


class Picture(FrozenModel):
    """A finished picture in the image store. `size_bytes` is that of its file, 0 from versions that did not say."""

    id: str
    receipt: Receipt
    size_bytes: int = 0
