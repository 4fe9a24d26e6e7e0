"""Which controls each tool shows."""

from __future__ import annotations

from collections.abc import Mapping

from imagegen.schema.request import GenerationRequest
from imagegen.schema.tasks import TASKS, TaskName
from ui.forms import list_section_fields, list_shown_fields

# Controls that belong to several fields, and are hidden with all of these.
GROUPS: Mapping[str, tuple[str, ...]] = {
    ".sizes": ("width", "height"),
    ".extension": TASKS["outpainting"].fields,
    ".paint-mask": ("mask_image",),
    ".settings > .form:has(#field-strength)": ("strength", "mask_area", "mask_fill"),
    ".settings > .form:has(#field-negative_prompt)": ("negative_prompt",),
    ".subject .form:has(.prompt)": ("prompt",),
    ".chosen": ("model", "loras"),
    ".control-units": ("controls",),
    ".reference-pictures": ("references",),
    ".pictures": ("batch_size",),
    ".seed": ("seed",),
    "#section-hires_scale": list_section_fields("hires_scale"),
    "#section-detail_detector": list_section_fields("detail_detector"),
    ".advanced": ("width", "height", "sampler"),
}


def build_tool_styles() -> str:
    """Returns a style sheet that hides the controls of the fields that the chosen tool does not take."""
    return "\n".join(
        f'.workspace:has(.tools button[data-tab-id="{name}"].selected) {control} {{ display: none !important; }}'
        for name in TASKS
        for control in list_hidden_controls(name)
    )


def list_hidden_controls(name: TaskName) -> list[str]:
    """Returns the selectors of the controls that a tool does not show."""
    hidden_fields = GenerationRequest.model_fields.keys() - set(list_shown_fields(name))
    groups = [selector for selector, fields in GROUPS.items() if hidden_fields.issuperset(fields)]
    return [*(f"#field-{field}" for field in sorted(hidden_fields)), *groups]
