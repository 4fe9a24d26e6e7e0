"""The tab with the user's own pictures. library.js shows them; the form is filled from here."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from html import escape
from typing import Any

import gradio as gr

from imagegen.errors import ImageGenError
from imagegen.languages.translation import translate
from imagegen.schema.tasks import TASKS, TaskName
from imagegen.service import Service
from ui.components import status_html
from ui.components.html import create_html
from ui.components.script_bridge import ScriptBridge
from ui.control_updates import Updates
from ui.gradio_request import get_user
from ui.messages import describe_problem
from ui.tabs.create import CreateTab
from ui.workspace.history import load_picture
from ui.workspace.page_state import PageState

UsePicture = Callable[..., Awaitable[Updates]]
# The tools that a picture can be sent to.
SENDABLE = tuple(name for name, task in TASKS.items() if task.action)


class LibraryTab:
    """`create` is the tab in which pictures are used again; `pages` are all tabs."""

    def __init__(self, service: Service, create: CreateTab, pages: gr.Tabs) -> None:
        self.service, self.create, self.pages = service, create, pages
        with gr.Tab("Library", id="library"):
            create_html(render_library())
            self.uses: dict[str, UsePicture] = {
                "use-settings": create.reuse_settings,
                "use-seed": self.use_seed,
                **{f"send-{task}": self._build_send(task) for task in SENDABLE},
            }
            self.bridge = ScriptBridge("library", *self.uses)

    def connect(self) -> None:
        """Connects the buttons. The tab "Create" must have all its controls."""
        inputs = [self.create.state, *self.create.form.inputs]
        for action, use in self.uses.items():
            self.bridge.connect(action, self._build_handler(use), inputs, [self.pages, *self.create.outputs])

    def _build_handler(self, use: UsePicture) -> Callable[..., Awaitable[Updates]]:
        async def use_picture(http: gr.Request, picture_id: str, state: PageState, *values: Any) -> Updates:
            """Shows a picture in the tab "Create", and uses it there."""
            opened = {self.pages: gr.Tabs(selected=self.create.tab_id)}
            try:
                picture = await load_picture(self.service, picture_id, get_user(http))
            except ImageGenError as error:
                return {**opened, self.create.controls.status: status_html.render_problem(describe_problem(error))}
            state.watched, state.history = False, state.history.show(picture)
            return {**opened, **self.create.stage.show_history(state.history), **await use(state, *values)}

        return use_picture

    async def use_seed(self, state: PageState, *values: Any) -> Updates:
        updates = {self.create.form.controls["seed"]: await self.create.copy_seed(state)}
        return self.create.undo.offer(updates, values, translate("The seed is that of the picture."))

    def _build_send(self, task: TaskName) -> UsePicture:
        async def send(state: PageState, *values: Any) -> Updates:
            return await self.create.send_shown(task, state, values)

        return send


def render_library() -> str:
    """Returns the element of library.js, with all tools as options, and those that a picture can be sent to."""
    tools = [{"name": task, "action": TASKS[task].action} for task in SENDABLE]
    options = "".join(f'<option value="{task.endpoint}">{escape(task.label)}</option>' for task in TASKS.values())
    data = escape(json.dumps(tools))
    return f'<studio-library data-tools="{data}"><select hidden>{options}</select></studio-library>'
