"""The tasks: what a request makes pictures from, and what each task is called in the APIs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

TaskName = Literal["text_to_image", "image_to_image", "inpainting", "outpainting", "upscale"]

# A second pass would paint the whole picture anew.
HIRES_FIELDS = ("hires_scale", "hires_steps", "hires_strength", "hires_upscaler")


@dataclass(frozen=True)
class Task:
    """`endpoint` is the task's name in the APIs, and `label` the one on the page; `tab` is shorter.

    `action` is on the button that sends a picture to it. `input_images` are the request's fields for the pictures it
    needs.

    A task that paints needs a prompt and a model with `capability`. It takes all fields of a request but its
    `excluded_fields` and the `fields` of other tasks; of its own `fields` it needs one. `strength` is its default, None
    for that of the model.

    A task that does not paint takes its `only_fields`, and no model. `defaults` are the values of those that a request
    leaves open, where they differ from the request's own.
    """

    endpoint: str
    label: str
    tab: str
    summary: str
    capability: str
    input_images: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    excluded_fields: tuple[str, ...] = ()
    strength: float | None = None
    only_fields: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    action: str = ""

    @property
    def own_values(self) -> Mapping[str, Any]:
        """The values that the page shows for it at first, where they are not those of other tasks."""
        return {**self.defaults, **({} if self.strength is None else {"strength": self.strength})}

    @property
    def paints(self) -> bool:
        return not self.only_fields

    @property
    def required_fields(self) -> tuple[str, ...]:
        return ("prompt", *self.input_images) if self.paints else self.input_images


TASKS: Mapping[TaskName, Task] = {
    "text_to_image": Task("txt2img", "Text to image", "Text", "Paints a picture from a prompt.", "text_to_image"),
    "image_to_image": Task(
        "img2img",
        "Image to image",
        "Picture",
        "Paints a picture from another picture and a prompt.",
        "image_to_image",
        ("init_image",),
        action="Send to image to image",
    ),
    "inpainting": Task(
        "inpaint",
        "Inpaint",
        "Inpaint",
        "Paints the masked part of a picture anew, from a prompt.",
        "inpainting",
        ("init_image", "mask_image"),
        excluded_fields=HIRES_FIELDS,
        action="Edit",
    ),
    "outpainting": Task(
        "outpaint",
        "Extend",
        "Extend",
        "Extends a picture beyond its edges, from a prompt.",
        "inpainting",
        ("init_image",),
        ("extend_left", "extend_right", "extend_top", "extend_bottom", "extend_ratio"),
        excluded_fields=HIRES_FIELDS,
        strength=0.9,
        action="Extend",
    ),
    "upscale": Task(
        "upscale",
        "Upscale",
        "Upscale",
        "Makes a picture larger.",
        "",
        ("image",),
        only_fields=("image", "scale", "upscaler"),
        defaults={"scale": 4.0},
        action="Upscale",
    ),
}


def find_task(fields: set[str]) -> TaskName:
    """Returns the task for a request with these fields: of those that have all they need, the one that needs most."""
    possible = [
        name
        for name, task in TASKS.items()
        if fields.issuperset(task.input_images) and (not task.fields or not fields.isdisjoint(task.fields))
    ]
    return max(possible, key=lambda name: (len(TASKS[name].input_images), len(TASKS[name].fields)))
