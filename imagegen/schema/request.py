"""The request for pictures.

The fields of GenerationRequest are the only source of names, ranges, defaults and help texts. Forms and endpoints
are made from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import (
    ConfigDict,
    FailFast,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from imagegen.schema.base import FrozenModel
from imagegen.schema.controls import MAX_CONTROLS, ControlUse
from imagegen.schema.field_types import (
    MAX_HIRES_SCALE,
    MAX_LORAS,
    MAX_PICTURES,
    MAX_PROMPT_CHARS,
    MAX_SCALE,
    MAX_STEPS,
    NUMBER_VALIDATOR,
    AspectRatio,
    Extension,
    ImageId,
    MaskArea,
    MaskFill,
    PrintableText,
    Prompt,
    Reference,
    SamplerName,
    Seed,
    SideLength,
    Strength,
)
from imagegen.schema.markers import InputImage, Needs, Requires, find_marked_fields
from imagegen.schema.prompt_tags import PromptTagError, move_loras
from imagegen.schema.reference_pictures import MAX_REFERENCES, ReferencePicture
from imagegen.schema.sizes import Size, scale_hires_size
from imagegen.schema.tasks import TASKS, TaskName, find_task


class LoraUse(FrozenModel):
    """One LoRA of a stack. With weight 0 the picture is the same, to the pixel, as without the LoRA."""

    model_config = ConfigDict(json_schema_extra={"example": {"lora": "neon", "weight": 0.8}})

    lora: Reference = Field(description="A name from the list of LoRAs, or a Hugging Face repository, with a file.")
    weight: Annotated[float, Field(ge=-4, le=4), NUMBER_VALIDATOR] = Field(
        1.0, description="How strongly it is applied."
    )


class CountedPrompt(FrozenModel):
    """A prompt whose tokens are counted for a model."""

    prompt: PrintableText = Field(max_length=MAX_PROMPT_CHARS)
    model: Reference | None = Field(None, description="A name from the list of models. Empty: the default one.")
    seed: Seed = Field(0, description="The seed that chooses lines of wildcards.")


class RequestRules(FrozenModel):
    """The rules between the fields of a request, which the request models of the APIs check as well."""

    @field_validator("more_prompts", check_fields=False)
    @classmethod
    def check_picture_count(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        pictures_per_prompt = info.data.get("batch_size", 1)
        max_entries = MAX_PICTURES // pictures_per_prompt - 1
        if len(value) > max_entries:
            allowed = f"must have at most {max_entries} entries" if max_entries else "cannot be used"
            raise ValueError(
                f"{allowed} with a batch_size of {pictures_per_prompt}: a request gives up to {MAX_PICTURES} pictures"
            )
        return value


SIDE_DESCRIPTION = "Pixels, a multiple of 8. Without both: the model's own, or the proportions of the start image."


class GenerationRequest(RequestRules):
    """Everything that decides a picture, and nothing else. What is left open is filled in from the model."""

    prompt: PrintableText = Field(
        "",
        max_length=MAX_PROMPT_CHARS,
        description="What to paint. (Words in brackets:1.3) weigh more, <lora:name:0.8> adds a LoRA, and {red|blue} or"
        " __colors__ is a choice by the seed, of these or of the lines of a wildcard file.",
    )
    negative_prompt: Annotated[PrintableText, Needs("negative_prompt")] = Field(
        "", max_length=MAX_PROMPT_CHARS, description="What to keep out of the picture."
    )
    width: SideLength | None = Field(None, description=SIDE_DESCRIPTION)
    height: SideLength | None = Field(None, description=SIDE_DESCRIPTION)
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS), NUMBER_VALIDATOR] | None = Field(
        None, description="More steps: finer, slower."
    )
    guidance_scale: Annotated[
        Annotated[float, Field(ge=1, le=30), NUMBER_VALIDATOR] | None, Needs("guidance", neutral=1)
    ] = Field(None, description="How closely to follow the prompt; at 1 the negative prompt has no effect.")
    sampler: SamplerName | None = Field(None, description="How noise becomes a picture.")
    seed: Seed | None = Field(None, description="The same seed gives the same picture. Empty: a new one each time.")
    batch_size: Annotated[int, Field(ge=1, le=MAX_PICTURES), NUMBER_VALIDATOR] = Field(
        1, description="How many pictures; each takes the seed after the one before."
    )
    clip_skip: Annotated[int, Field(ge=0, le=2), NUMBER_VALIDATOR, Needs("clip_skip")] = Field(
        0, description="How many of the text encoder's last layers to leave out."
    )
    model: Reference | None = Field(
        None, description="A name from the list of models, a Hugging Face repository, or a file in the models folder."
    )
    loras: Annotated[tuple[LoraUse, ...], FailFast(), Needs("loras")] = Field(
        (), max_length=MAX_LORAS, description='LoRAs to apply, such as [{"lora": "neon", "weight": 0.8}].'
    )
    embeddings: Annotated[tuple[Reference, ...], FailFast(), Needs("embeddings")] = Field(
        (), max_length=8, description="Textual inversions to load, each used by its word in a prompt."
    )
    more_prompts: Annotated[tuple[Prompt, ...], FailFast()] = Field(
        (),
        max_length=MAX_PICTURES - 1,
        description=f"Further prompts: each gives pictures of its own in the same batch, up to {MAX_PICTURES} in all.",
    )

    step_cache: Annotated[float, Field(ge=0, le=1), NUMBER_VALIDATOR, Needs("step_cache")] = Field(
        0.0,
        description="Skip steps that can be extrapolated from earlier ones, until this much change adds up: faster, and"
        " coarser. At 0 each step is computed.",
    )
    variation_seed: Seed | None = Field(
        None, description="The seed of a variation. Empty: a new one each time. Without variation_strength: no effect."
    )
    variation_strength: Annotated[float, Field(ge=0, le=1), NUMBER_VALIDATOR] = Field(
        0.0,
        description="How much of the noise comes from variation_seed: small values vary the picture, 1 is the picture"
        " of that seed. Several pictures then keep the seed, and each takes the next variation_seed.",
    )
    init_image: Annotated[ImageId | None, InputImage("rgb")] = Field(
        None, title="Start image", description="The picture to start from."
    )
    strength: Annotated[Strength | None, Needs("strength"), Requires("init_image")] = Field(
        None, description="How far to move away from the picture: 1 forgets it."
    )
    mask_image: Annotated[ImageId | None, InputImage("mask"), Needs("inpainting"), Requires("init_image")] = Field(
        None,
        title="Mask",
        description="White is painted anew, black stays. Of a mask with transparency, what is opaque is painted anew."
        " It has the size of the start image.",
    )
    mask_blur: Annotated[int, Field(ge=0, le=64), NUMBER_VALIDATOR, Needs("inpainting"), Requires("mask_image")] = (
        Field(4, description="Pixels over which the edge of the mask is softened, so that no seam shows.")
    )
    mask_invert: Annotated[bool, Field(strict=True), Needs("inpainting"), Requires("mask_image")] = Field(
        False, description="Whether to paint anew what is black in the mask, instead of what is white."
    )
    mask_area: Annotated[MaskArea, Needs("inpainting"), Requires("mask_image")] = Field(
        "whole",
        description='What is painted at the size of the picture: the "whole" picture, or only its "masked" part, with'
        " more detail.",
    )
    mask_padding: Annotated[int, Field(ge=0, le=512), NUMBER_VALIDATOR, Needs("inpainting"), Requires("mask_image")] = (
        Field(32, description='Pixels around the masked part that are looked at with it, if mask_area is "masked".')
    )
    mask_fill: Annotated[MaskFill, Needs("inpainting"), Requires("mask_image")] = Field(
        "original",
        description='What is under the mask at the start: the "original", a "fill" with the colours around it, "noise"'
        ' or "nothing". With strength 1 it hardly matters.',
    )

    extend_left: Extension = Field(0, description="Pixels of the start image by which to extend it at the left.")
    extend_right: Extension = Field(0, description="Pixels of the start image by which to extend it at the right.")
    extend_top: Extension = Field(0, description="Pixels of the start image by which to extend it at the top.")
    extend_bottom: Extension = Field(0, description="Pixels of the start image by which to extend it at the bottom.")
    extend_ratio: Annotated[AspectRatio | None, Needs("inpainting"), Requires("init_image")] = Field(
        None,
        description='Width to height, such as "16:9", to which to extend it at both sides, or at the top and bottom.',
    )
    hires_scale: Annotated[float, Field(ge=1, le=MAX_HIRES_SCALE), NUMBER_VALIDATOR, Needs("strength")] = Field(
        1.0, description="Paint the picture again, this many times larger, for finer details. 1: once only."
    )
    hires_steps: Annotated[int, Field(ge=0, le=MAX_STEPS), NUMBER_VALIDATOR, Requires("hires_scale")] = Field(
        0, description="The steps of painting again. 0: as many as steps."
    )
    hires_strength: Annotated[Strength, Requires("hires_scale")] = Field(
        0.6, description="How far painting again may move away from the first picture."
    )
    hires_upscaler: Annotated[Reference | None, Requires("hires_scale")] = Field(
        None,
        description="What makes the first picture larger before it is painted again: Latent, or a name from the list of"
        " upscalers. Empty: Latent, or the studio's own for models that cannot.",
    )
    image: Annotated[ImageId | None, InputImage("rgba")] = Field(
        None, title="Picture", description="The picture to make larger."
    )
    scale: Annotated[float, Field(ge=1, le=MAX_SCALE), NUMBER_VALIDATOR] = Field(
        1.0, description="How many times larger to make the finished picture."
    )
    upscaler: Reference | None = Field(
        None,
        description="What makes it larger: a name from the list of upscalers, or a Hugging Face repository, with a"
        " file. Empty: the studio's own, where scale is more than 1.",
    )

    controls: Annotated[tuple[ControlUse, ...], FailFast(), Needs("controlnet")] = Field(
        (),
        max_length=MAX_CONTROLS,
        description="Pictures to follow, such as edges, each with its ControlNet, the picture and perhaps a weight.",
    )
    vae: Annotated[Reference | None, Needs("vae")] = Field(
        None,
        title="VAE",
        description="What makes the picture of its latents: a name from the list of VAEs, or a Hugging Face repository,"
        " with a file if it has several. Empty: the model's own.",
    )
    references: Annotated[tuple[ReferencePicture, ...], FailFast(), Needs("references")] = Field(
        (),
        max_length=MAX_REFERENCES,
        description="Pictures to look at, such as a thing or a style, each with its IP-Adapter where the model needs"
        " one.",
    )
    detail_detector: Annotated[Reference | None, Needs("inpainting")] = Field(
        None,
        description="Paint parts of the picture again in more detail, such as faces: what finds them, a name from the"
        " list of detectors, or a Hugging Face repository. Empty: no part.",
    )
    detail_label: Annotated[PrintableText, Requires("detail_detector")] = Field(
        "", max_length=100, description="Which of the objects that the detector knows are painted again. Empty: all."
    )
    detail_prompt: Annotated[PrintableText, Requires("detail_detector")] = Field(
        "", max_length=MAX_PROMPT_CHARS, description="What to paint there. Empty: the prompt."
    )
    detail_strength: Annotated[Strength, Requires("detail_detector")] = Field(
        0.4, description="How far painting the parts again may move away from the picture."
    )
    detail_confidence: Annotated[float, Field(ge=0, le=1), NUMBER_VALIDATOR, Requires("detail_detector")] = Field(
        0.3, description="How sure the detector must be of a part: less finds more, and more that is something else."
    )
    detail_padding: Annotated[int, Field(ge=0, le=512), NUMBER_VALIDATOR, Requires("detail_detector")] = Field(
        32, description="Pixels around each part that are looked at with it."
    )

    @model_validator(mode="before")
    @classmethod
    def fill_in_task_defaults(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        task = find_task({name for name in INPUT_IMAGES if values.get(name) is not None})
        return {**TASKS[task].defaults, **values}

    @model_validator(mode="before")
    @classmethod
    def move_loras_out_of_prompt(cls, values: Any) -> Any:
        try:
            return move_loras(values) if isinstance(values, Mapping) else values
        except PromptTagError as error:
            raise PydanticCustomError(
                "prompt_tag", "{problem}", {"field": error.field, "problem": str(error)}
            ) from None

    @model_validator(mode="after")
    def check_required_fields(self) -> Self:
        task = TASKS[self.task]
        if task.paints and "prompt" not in self.model_fields_set:
            raise PydanticCustomError("prompt_missing", "is required", {"field": "prompt"})
        for name, requires in REQUIRES.items():
            if self.is_set(name) and not self.is_set(requires.field):
                article = "an" if requires.field[0] in "aeiou" else "a"
                context = {"field": name, "required": f"{article} {requires.field}"}
                raise PydanticCustomError("required_field_missing", "needs {required}", context)
        of_other_tasks = {name for each in TASKS.values() for name in each.fields}  # See check_tasks.
        for name in type(self).model_fields.keys() - set(list_task_fields(self.task)) - of_other_tasks:
            if self.is_set(name):
                context = {"field": name, "task": task.endpoint}
                raise PydanticCustomError("field_of_another_task", "cannot be used for {task}", context)
        return self

    @model_validator(mode="after")
    def check_tasks(self) -> Self:
        for task in TASKS.values():
            for name in task.fields:
                others = INPUT_IMAGES.keys() - {*task.input_images} if self.is_set(name) else ()
                for other in filter(self.is_set, others):
                    context = {"field": name, "other": other}
                    raise PydanticCustomError("fields_exclude_each_other", "cannot be used with {other}", context)
        return self

    def is_set(self, field: str) -> bool:
        """Returns whether a field asks for something: whether its value is another than its default."""
        return bool(getattr(self, field) != GenerationRequest.model_fields[field].default)

    @property
    def task(self) -> TaskName:
        """What this request makes pictures from, by the fields that it has."""
        return find_task({name for name in type(self).model_fields if self.is_set(name)})

    @property
    def has_hires(self) -> bool:
        """Whether the picture is painted again."""
        return self.hires_scale > 1

    @property
    def has_detail(self) -> bool:
        """Whether parts of the picture are painted again."""
        return self.detail_detector is not None

    @property
    def is_upscaled(self) -> bool:
        """Whether an upscaler makes the finished picture, or the picture of the request, larger."""
        return self.scale > 1 or self.upscaler is not None or not TASKS[self.task].paints

    @property
    def painted_size(self) -> Size:
        """Width and height in pixels of the picture before an upscaler. All fields must be filled in."""
        assert self.width is not None and self.height is not None
        size = self.width, self.height
        return scale_hires_size(size, self.hires_scale) if self.has_hires else size

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompt of each picture, in the pictures' order."""
        return tuple(prompt for prompt in (self.prompt, *self.more_prompts) for _ in range(self.batch_size))


# The fields of a request that hold input pictures, those that not every model can use, and those that need another.
INPUT_IMAGES = find_marked_fields(GenerationRequest, InputImage)
NEEDS = find_marked_fields(GenerationRequest, Needs)
REQUIRES = find_marked_fields(GenerationRequest, Requires)


def list_task_fields(name: TaskName) -> tuple[str, ...]:
    """Returns the fields of a request that a task takes, in the order of GenerationRequest's fields."""
    task = TASKS[name]
    if not task.paints:
        return tuple(field for field in GenerationRequest.model_fields if field in task.only_fields)
    of_others = {field for other, each in TASKS.items() if other != name for field in each.fields}
    left_out = of_others.union(task.excluded_fields)
    return tuple(
        field
        for field in GenerationRequest.model_fields
        if field not in left_out and get_subject(field) in (None, *task.input_images)
    )


def list_image_fields(name: TaskName) -> tuple[str, ...]:
    """Returns the task's fields for input pictures: the pictures, and the fields that require one."""
    return tuple(field for field in list_task_fields(name) if get_subject(field) is not None)


def get_subject(field: str) -> str | None:
    """Returns the input picture that a field is or requires, if any."""
    names = (field, REQUIRES[field].field) if field in REQUIRES else (field,)
    return next((name for name in names if name in INPUT_IMAGES), None)
