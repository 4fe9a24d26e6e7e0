"""LoRAs that were made for certain settings bring them along."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr

from imagegen.errors import InvalidRequest
from imagegen.languages.translation import translate
from imagegen.service import Service
from ui.components.events import UNCHECKED_EVENT
from ui.control_updates import Updates
from ui.forms import Form
from ui.workspace.undo import FormUndo


class LoraSettings:
    """When a user adds such a LoRA, the form gets its steps, guidance and sampler. The user can undo that."""

    def __init__(self, service: Service, form: Form, undo: FormUndo) -> None:
        self.service, self.form, self.undo = service, form, undo

    def connect(self) -> None:
        assert self.form.lora_stack is not None
        added = self.form.lora_stack.added
        added.change(self.apply, [added, *self.form.inputs], self.undo.outputs, **UNCHECKED_EVENT)

    async def apply(self, added: str, *values: Any) -> Updates:
        """Returns the updates for a LoRA that was just added."""
        settings = await asyncio.to_thread(self.read_settings, added) if added else {}
        if not settings:
            return {self.undo.before: gr.skip()}
        place = 1 + list(self.form.controls).index("loras")
        before = [*values[:place], [name for name in values[place] or [] if name != added], *values[place + 1 :]]
        updates = {self.form.controls[field]: value for field, value in settings.items()}
        return self.undo.offer(
            updates, before, translate("The settings are those that {lora} was made for.", lora=added)
        )

    def read_settings(self, lora: str) -> dict[str, Any]:
        """Returns the settings that a LoRA was made for. Reads the disk."""
        try:
            info = self.service.model_manager.library.adapters["lora"].get(lora).info
        except InvalidRequest:
            return {}
        return info.settings.model_dump(exclude_none=True) if info.settings else {}
