"""A stack of LoRAs in a form: names to choose from, and for each that is chosen a weight of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gradio as gr

from imagegen.schema import LORA_LIMIT, LoraUse

USUAL = 0.8
# What answers at once stays out of Gradio's queue: each turn there opens and closes the page's stream of news, and a
# picture asked for at that moment would be made without the page hearing of it.
AT_ONCE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
# Gradio refuses what is not among the choices that a page began with; the service says better what is wrong.
AS_IT_IS: dict[str, Any] = {**AT_ONCE, "preprocess": False}


class LoraStack:
    """`names` grows and shrinks; the n-th of `weights` is shown while there is an n-th name, and is called by it."""

    def __init__(self, names: gr.Dropdown) -> None:
        self.names = names
        self.shown = gr.State([])
        with gr.Column(elem_classes="stack"):
            self.weights = [
                gr.Slider(-1, 2, value=USUAL, step=0.05, label=f"LoRA {place}", visible=False, elem_classes="weight")
                for place in range(1, LORA_LIMIT + 1)
            ]
        names.change(self._follow, [names, self.shown, *self.weights], [self.shown, *self.weights], **AS_IT_IS)

    @staticmethod
    def uses(names: Sequence[str] | None, weights: Sequence[float]) -> list[dict[str, Any]]:
        """As a request has them."""
        return [{"lora": name, "weight": weight} for name, weight in zip(names or [], weights, strict=False)]

    def worn(self, uses: Iterable[LoraUse]) -> dict[Any, Any]:
        """Updates that show this stack."""
        weights = {use.lora: use.weight for use in uses}
        return {self.names: list(weights), self.shown: list(weights), **self._rows(weights)}

    def _follow(self, names: list[str] | None, before: list[str], *weights: float) -> dict[Any, Any]:
        """Each LoRA keeps its weight while others come and go."""
        known = dict(zip(before, weights, strict=False))
        chosen = (names or [])[:LORA_LIMIT]
        return {self.shown: chosen, **self._rows({name: known.get(name, USUAL) for name in chosen})}

    def _rows(self, weights: dict[str, float]) -> dict[Any, Any]:
        shown = list(weights.items())
        return {
            slider: gr.Slider(visible=True, label=f"Weight of {shown[place][0]}", value=shown[place][1])
            if place < len(shown)
            else gr.Slider(visible=False)
            for place, slider in enumerate(self.weights)
        }
