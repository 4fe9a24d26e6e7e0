"""Adds the LoRA or the embedding whose name completes a word of the prompt."""

from __future__ import annotations

import gradio as gr

from imagegen.errors import ImageGenError
from ui.components import status_html
from ui.components.script_bridge import ScriptBridge
from ui.control_updates import Updates
from ui.forms import Form
from ui.messages import describe_problem


class PromptCompletion:
    """prompt.js shows the names, and calls the action "use" with the one that was chosen."""

    def __init__(self, form: Form, status: gr.HTML) -> None:
        self.form, self.status = form, status
        self.bridge = ScriptBridge("prompt-adapter", "use")

    def connect(self) -> None:
        chosen = [self.form.controls[name] for name in ("model", "loras", "embeddings")]
        outputs = [self.status, *self.form.outputs]
        self.bridge.connect("use", self.add, chosen, outputs)

    async def add(self, reference: str, model: str, *selected: list[str] | None) -> Updates:
        """Returns the updates that add an adapter to the selected LoRAs and embeddings."""
        try:
            return await self.form.add_adapter(reference, model, selected)
        except ImageGenError as error:
            return {self.status: status_html.render_problem(describe_problem(error))}
