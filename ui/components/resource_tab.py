"""The tabs of models and of LoRAs. resources.js shows them with the REST API; a form is filled from here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from ui.components.events import UNCHECKED_EVENT
from ui.components.html import create_html
from ui.components.script_bridge import ScriptBridge


class ResourceTab:
    """A tab with the element `studio-NAME`.

    The element calls the action "use" with what was chosen. A handler writes into `problem` why it cannot be used, or
    nothing; then the element gets that text.
    """

    def __init__(self, title: str, name: str) -> None:
        self.name = name
        with gr.Tab(title, id=name):
            create_html(f"<studio-{name}></studio-{name}>")
            self.bridge = ScriptBridge(name, "use")
            self.problem = gr.Textbox("", visible="hidden")

    def connect_use(self, handler: Callable[..., Any], inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Calls the handler with the reference and the inputs. It returns updates of `problem` and the outputs."""
        used = self.bridge.connect("use", handler, inputs, [self.problem, *outputs])
        tell = f"(problem) => {{ document.querySelector('studio-{self.name}').showUse(problem); }}"
        used.then(None, [self.problem], None, js=tell, **UNCHECKED_EVENT)
