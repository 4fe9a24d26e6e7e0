"""The LoRAs of a form: a dropdown of names, and a chip with its weight for each name that is chosen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

import gradio as gr

from imagegen.languages.translation import translate
from imagegen.schema.field_types import MAX_LORAS
from imagegen.schema.request import LoraUse
from ui.components.events import UNCHECKED_EVENT, UNQUEUED_EVENT
from ui.components.html import create_html, translate_html

DEFAULT_LORA_WEIGHT = 0.8


class LoraStack:
    """The n-th slider is visible while the dropdown has an n-th name, and its label shows that name."""

    def __init__(self, dropdown: gr.Dropdown, get_trigger_words: Callable[[str], Sequence[str]]) -> None:
        """`get_trigger_words` returns the trigger words of a LoRA by its id. It may read the disk."""
        self.dropdown = dropdown
        self.shown_names = gr.State([])
        # The LoRA that was just added, by its id; empty after any other change.
        self.added = gr.Textbox("", visible="hidden")
        self.trigger_words = create_html("", elem_classes="triggers")
        with gr.Column(elem_classes="stack"):
            self.weight_sliders = [self._add_chip(place) for place in range(MAX_LORAS)]
        dropdown.change(
            self._sync_weights,
            [dropdown, self.shown_names, *self.weight_sliders],
            [self.shown_names, self.added, *self.weight_sliders],
            **UNCHECKED_EVENT,
        )

        async def show_trigger_words(names: list[str] | None) -> str:
            return await asyncio.to_thread(lambda: render_trigger_words(map(get_trigger_words, names or [])))

        dropdown.change(show_trigger_words, [dropdown], [self.trigger_words], **UNCHECKED_EVENT)

    def _add_chip(self, place: int) -> gr.Slider:
        """Adds the weight of the LoRA at a place, with a button that removes it. Returns the slider of the weight."""
        with gr.Row(elem_classes="chip"):
            slider = gr.Slider(
                -1,
                2,
                value=DEFAULT_LORA_WEIGHT,
                step=0.05,
                label=translate("LoRA {place}", place=place + 1),
                visible=False,
                elem_classes="weight",
            )
            remove = gr.Button(
                translate("Remove LoRA {place}", place=place + 1), size="sm", elem_classes="remove with-icon"
            )
        without = f"(names) => [names.filter((_, index) => index !== {place})]"
        remove.click(None, self.dropdown, self.dropdown, js=without, **UNQUEUED_EVENT)
        return slider

    @staticmethod
    def to_lora_uses(names: Sequence[str] | None, weight_sliders: Sequence[float]) -> list[dict[str, Any]]:
        """Returns the LoRAs as the field `loras` of a request."""
        return [{"lora": name, "weight": weight} for name, weight in zip(names or [], weight_sliders, strict=False)]

    def show_loras(self, uses: Iterable[LoraUse]) -> dict[Any, Any]:
        """Returns updates with which the controls show these LoRAs."""
        weights = {use.lora: use.weight for use in uses}
        return {self.dropdown: list(weights), self.shown_names: list(weights), **self._update_sliders(weights)}

    def _sync_weights(self, names: list[str] | None, previous: list[str], *weights: float) -> dict[Any, Any]:
        """Returns updates for a new choice of names. Each LoRA that stays keeps its weight."""
        known_weights = dict(zip(previous, weights, strict=False))
        chosen = (names or [])[:MAX_LORAS]
        new = [name for name in chosen if name not in known_weights]
        return {
            self.shown_names: chosen,
            self.added: new[-1] if new else "",
            **self._update_sliders({name: known_weights.get(name, DEFAULT_LORA_WEIGHT) for name in chosen}),
        }

    def _update_sliders(self, weights: dict[str, float]) -> dict[Any, Any]:
        shown_names = list(weights.items())
        return {
            slider: gr.Slider(visible=True, label=shown_names[place][0], value=shown_names[place][1])
            if place < len(shown_names)
            else gr.Slider(visible=False)
            for place, slider in enumerate(self.weight_sliders)
        }


def render_trigger_words(loras: Iterable[Sequence[str]]) -> str:
    """Returns a button for each trigger word. workspace.js adds the word to the prompt."""
    words = dict.fromkeys(word for words in loras for word in words)
    title = translate_html("Add to the prompt")
    return "".join(
        f'<button type="button" data-insert="{escape(word)}" title="{title}">{escape(word)}</button>' for word in words
    )
