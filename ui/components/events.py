"""Options of Gradio events."""

from __future__ import annotations

from typing import Any

# For handlers that respond at once. Each turn in Gradio's queue opens and closes the page's event stream, and a page
# that requests a picture at that moment would miss its events.
UNQUEUED_EVENT: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
# Gradio refuses values that were not among the first choices of a control; here the service checks them instead.
UNCHECKED_EVENT: dict[str, Any] = {**UNQUEUED_EVENT, "preprocess": False}
# Gradio drops an event that comes while the one before is on its way; for `input` and `click`, this must be said. With
# it, the last event always counts, with the values that the controls have by then.
LAST_EVENT: dict[str, Any] = {"trigger_mode": "always_last"}
