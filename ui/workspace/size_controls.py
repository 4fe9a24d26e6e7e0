"""The shape and the area of a picture, which set its width and height."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import sqrt
from typing import Any

import gradio as gr
from gradio.components import Component

from imagegen.schema.models import ModelInfo
from ui.components.events import UNQUEUED_EVENT
from ui.schema_limits import get_field_schema

PIXELS_PER_MEGAPIXEL = 1_000_000
ASPECT_RATIOS: Mapping[str, float] = {
    "1:1": 1,
    "3:2": 3 / 2,
    "2:3": 2 / 3,
    "4:3": 4 / 3,
    "16:9": 16 / 9,
    "9:16": 9 / 16,
}
# The areas that are offered, as multiples of the area that the model was made for.
AREAS = (0.5, 1.0, 1.5, 2.0, 4.0)
# The width and height of the chosen aspect ratio and area; what is not chosen stays. The same rules as
# `imagegen.schema.start_size.fit_sides`.
SET_SIDES = """(name, area, width, height, facts) => {
  const { step, pixels, minimum, maximum } = JSON.parse(facts);
  const ratio = %s[name] ?? width / height;
  const exact = Math.sqrt((area ? area * pixels : width * height) * ratio);
  const fit = (side) => Math.min(Math.max(Math.round(side / step) * step, minimum), maximum);
  return [fit(exact), fit(exact / ratio)];
}"""
# Selects the choices that a width and a height come from; both were rounded to multiples of `step`.
SHOW_CHOICES = """(width, height, facts) => {
  const { step, pixels } = JSON.parse(facts);
  const fits = ([, ratio]) => {
    const exact = Math.sqrt(width * height * ratio);
    return Math.abs(width - exact) <= step / 2 && Math.abs(height - exact / ratio) <= step / 2;
  };
  const ratio = Object.entries(%s).find(fits)?.[0] ?? null;
  const area = %s.find((each) => Math.abs((each * pixels) / (width * height) - 1) < 0.1) ?? null;
  return [ratio, area];
}"""


class SizeControls:
    """Two rows of choices. Where width and height match no choice, none is selected."""

    def __init__(self, model: ModelInfo) -> None:
        with gr.Column(elem_classes="sizes"):
            self._build(model)

    def _build(self, model: ModelInfo) -> None:
        self.facts = gr.Textbox(describe_sides(model), visible="hidden")
        self.aspect_ratio = gr.Radio(
            list(ASPECT_RATIOS),
            value="1:1",
            label="Aspect ratio",
            elem_classes="switch aspects",
            elem_id="aspect-ratio",
        )
        self.area = gr.Radio(
            list_area_choices(model), value=1.0, label="Megapixels", elem_classes="switch", elem_id="area"
        )
        self.swap_button = gr.Button("Swap width and height", size="sm", elem_classes="swap with-icon")

    def connect(self, width: Component, height: Component) -> None:
        """Makes width and height follow the choices, and the choices them."""
        assert isinstance(width, gr.Slider) and isinstance(height, gr.Slider)
        # All in the browser: a reply of the server could come after the next change.
        for control in (self.aspect_ratio, self.area):
            control.input(
                None,
                [self.aspect_ratio, self.area, width, height, self.facts],
                [width, height],
                js=SET_SIDES % json.dumps(dict(ASPECT_RATIOS)),
                **UNQUEUED_EVENT,
            )
        gr.on(
            [width.change, height.change, self.facts.change],
            None,
            [width, height, self.facts],
            [self.aspect_ratio, self.area],
            js=SHOW_CHOICES % (json.dumps(dict(ASPECT_RATIOS)), json.dumps(AREAS)),
            **UNQUEUED_EVENT,
        )
        self.swap_button.click(
            None, [width, height], [width, height], js="(width, height) => [height, width]", **UNQUEUED_EVENT
        )

    def adapt(self, model: ModelInfo) -> dict[Any, Any]:
        """Returns the updates for a model."""
        return {self.area: gr.Radio(choices=list_area_choices(model)), self.facts: describe_sides(model)}


def describe_sides(model: ModelInfo) -> str:
    """Returns what SET_SIDES and SHOW_CHOICES must know of a model, as JSON."""
    facts = {
        "step": model.can.multiple,
        "pixels": model.width * model.height,
        "minimum": get_field_schema("width")["minimum"],
        "maximum": model.can.max_side,
    }
    return json.dumps(facts)


def list_area_choices(model: ModelInfo) -> list[tuple[str, float]]:
    """Returns the label and the value of each area that a square of the model may have."""
    possible = [area for area in AREAS if sqrt(area * model.width * model.height) <= model.can.max_side]
    return [(format_area(area * model.width * model.height), area) for area in possible]


def format_area(pixels: float) -> str:
    megapixels = pixels / PIXELS_PER_MEGAPIXEL
    return f"{megapixels:.2f}" if megapixels < 1 else f"{megapixels:.1f}"
