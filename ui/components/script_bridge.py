"""Lets the scripts of the page call handlers of Gradio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from ui.components.events import LAST_EVENT, UNCHECKED_EVENT


class ScriptBridge:
    """A hidden field for a value, and a hidden button for each action.

    `callPage(name, action, value)` in elements.js fills in the field and presses the button.
    """

    def __init__(self, name: str, *actions: str) -> None:
        self._value = gr.Textbox("", visible="hidden", elem_id=f"{name}-value")
        self._buttons = {action: gr.Button(action, visible="hidden", elem_id=f"{name}-{action}") for action in actions}

    def connect(self, action: str, handler: Callable[..., Any], inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
        """Calls the handler with the value and the inputs. Returns Gradio's event, whose `then` adds another."""
        button = self._buttons[action]
        return button.click(handler, [self._value, *inputs], list(outputs), **UNCHECKED_EVENT, **LAST_EVENT)
