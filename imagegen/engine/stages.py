"""The stages of a job, in the order in which they run: each is one call of a stock pipeline, or of an upscaler."""

from __future__ import annotations

from dataclasses import dataclass

from imagegen.schema.field_types import LATENT_UPSCALER
from imagegen.schema.models import UpscalerField
from imagegen.schema.request import GenerationRequest
from imagegen.schema.tasks import TASKS, TaskName


@dataclass(frozen=True)
class Stage:
    """`input_images` names the request's fields whose input pictures the stage needs.

    `upscaler` names its field for the upscaler of a stage that makes pictures larger.
    """

    name: str
    task: TaskName
    input_images: tuple[str, ...] = ()
    upscaler: UpscalerField | None = None


def plan_stages(request: GenerationRequest) -> tuple[Stage, ...]:
    """Returns the stages of a request, at least one. The pictures of the last are the job's result."""
    if not TASKS[request.task].paints:
        return (Stage("upscale", "upscale", TASKS[request.task].input_images, "upscaler"),)
    stages = [plan_base(request)]
    if request.has_hires:
        if request.hires_upscaler != LATENT_UPSCALER:
            stages.append(Stage("hires_upscale", "upscale", upscaler="hires_upscaler"))
        stages.append(Stage("hires", "image_to_image"))
    if request.has_detail:
        stages.append(Stage("detail", "inpainting", TASKS["inpainting"].input_images))
    if request.is_upscaled:
        stages.append(Stage("upscale", "upscale", upscaler="upscaler"))
    return tuple(stages)


def plan_base(request: GenerationRequest) -> Stage:
    """Returns the stage that paints the picture first. The engine makes the mask of a picture that is extended."""
    if request.task == "outpainting":
        return Stage("base", "inpainting", TASKS["inpainting"].input_images)
    return Stage("base", request.task, TASKS[request.task].input_images)
