"""The stage: the preview or the picture, what can be done with it, its facts, and the pictures before it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from imagegen.errors import ImageGenError
from imagegen.languages.messages import translate_message
from imagegen.languages.translation import translate
from imagegen.schema.base import User
from imagegen.schema.event_texts import describe_event
from imagegen.schema.events import Cancelled, Event, Failed, Loading, Progress, Queued, Result, Started
from imagegen.schema.pictures import PictureQuery
from imagegen.schema.receipt import Picture
from imagegen.schema.tasks import TASKS
from imagegen.service import Service
from ui.components import picture_html, status_html
from ui.components.html import create_html
from ui.components.script_bridge import ScriptBridge
from ui.control_updates import Updates
from ui.gradio_request import get_user
from ui.messages import describe_problem, describe_result
from ui.workspace.history import MAX_HISTORY, PictureHistory, load_picture
from ui.workspace.page_state import PageState


class Stage:
    """Shows one picture. All tools share it. `status` is the line of the tools that tells how things stand."""

    def __init__(self, service: Service, status: gr.HTML) -> None:
        self.service, self.status = service, status
        with gr.Column(elem_classes="stage-column"):
            self.picture = create_html(picture_html.render_empty(), elem_classes="canvas")
            with gr.Row(visible=False, elem_classes="actions") as self.actions:
                self.files = create_html("", elem_classes="files")
                self.settings_button = gr.Button("Reuse settings", size="sm")
                self.vary_button = gr.Button("Vary", size="sm")
                self.send_buttons = {
                    name: gr.Button(task.action, size="sm", elem_classes="send")
                    for name, task in TASKS.items()
                    if task.action
                }
            self.details = create_html("", elem_classes="details")
        with gr.Column(elem_classes="history-column"):
            self.running = create_html("", elem_classes="running-tile")
            self.strip = create_html("", elem_classes="history")
        # workspace.js calls them.
        self.bridge = ScriptBridge("stage", "show", "refresh")

    @property
    def outputs(self) -> list[Any]:
        return [
            *(self.picture, self.status, self.details, self.actions, self.vary_button),
            *(self.files, self.strip, self.running),
        ]

    def connect(self, state: gr.State) -> None:

        async def refresh(_: str, state: PageState, http: gr.Request) -> Updates:
            return await self.refresh(state, http)

        self.bridge.connect("show", self.select, [state], self.outputs)
        self.bridge.connect("refresh", refresh, [state], self.outputs)

    async def select(self, picture_id: str, state: PageState, http: gr.Request) -> Updates:
        """Returns the updates that show one of the user's pictures, or, without an id, the running job."""
        state.watched = picture_id == ""
        if state.watched:
            return {self.status: gr.skip()}
        try:
            picture = state.history.find(picture_id) or await load_picture(self.service, picture_id, get_user(http))
        except ImageGenError as error:
            return {self.status: status_html.render_problem(describe_problem(error))}
        state.history = state.history.show(picture)
        return self.show_history(state.history)

    async def refresh(self, state: PageState, http: gr.Request) -> Updates:
        """Returns the updates after pictures were made elsewhere, deleted, or brought back."""
        try:
            fresh = await self._load_fresh_history(state, get_user(http))
        except ImageGenError as error:
            return {self.status: status_html.render_problem(describe_problem(error))}
        shown = state.history.shown and fresh.find(state.history.shown.id)
        state.history = fresh.show(shown) if shown else fresh
        if shown or (state.jobs.current and state.watched):
            return {self.strip: picture_html.render_strip(state.history)}
        return self.show_history(state.history)

    async def _load_fresh_history(self, state: PageState, user: User) -> PictureHistory:
        """Loads the history again if a job has ended meanwhile: its pictures would be lost. Raises ImageGenError."""
        while True:
            before = state.history.pictures
            fresh = await self.load_history(user)
            if state.history.pictures is before:
                return fresh

    async def load_history(self, user: User) -> PictureHistory:
        page = await self.service.pictures.search(PictureQuery(limit=MAX_HISTORY), user)
        pictures = tuple(Picture(id=each.id, receipt=each.receipt) for each in page.pictures if each.receipt)
        return PictureHistory(pictures, pictures[0] if pictures else None)

    def update_from_event(self, event: Event, state: PageState) -> Updates:
        match event:
            case Queued() | Started() | Loading():
                waiting = status_html.render_waiting(translate_message(describe_event(event)))
                return {self.status: waiting, self.running: picture_html.render_running(0)}
            case Progress():
                updates: Updates = {self.status: status_html.render_progress(event)}
                if event.preview is not None:
                    updates[self.running] = picture_html.render_running(event.fraction, event.preview)
                    if state.watched:
                        updates[self.picture] = picture_html.render_preview(event.preview, event.fraction)
                        state.has_preview = True
                if state.has_preview and not state.watched:
                    # A preview may have arrived after the picture that was chosen instead.
                    updates |= self.show_history(state.history)
                    state.has_preview = False
                return updates
            case Result():
                looked_at = state.history.shown
                state.history = state.history.prepend(event.pictures)
                if not state.watched and looked_at is not None:
                    state.history = state.history.show(looked_at)
                return self.end_job(state, status_html.render_status("done", describe_result(event)))
            case Failed():
                return self.end_job(state, status_html.render_problem(translate_message(event.message)))
            case Cancelled():
                return self.end_job(state, status_html.render_status("stopped", translate("Stopped")))

    def end_job(self, state: PageState, status: str) -> Updates:
        """Returns the updates that show a picture instead of the job that ended, and a status."""
        return {**self.show_history(state.history), self.status: status, self.running: ""}

    def show_history(self, history: PictureHistory) -> Updates:
        updates: Updates = {
            self.strip: picture_html.render_strip(history),
            self.actions: gr.Row(visible=history.shown is not None),
        }
        if (picture := history.shown) is None:
            return {**updates, self.picture: picture_html.render_empty(), self.details: ""}
        file = self.service.images.picture_path(picture.id)
        return {
            **updates,
            # A picture that was only made larger has no noise of its own to vary.
            self.vary_button: gr.Button(visible=picture.receipt.task != "upscale"),
            self.picture: picture_html.render_picture(picture, file),
            self.files: picture_html.render_file_actions(picture),
            self.details: picture_html.render_details(picture),
        }
