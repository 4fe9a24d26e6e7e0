"""The tab "Create": the tools at the left, the picture in the middle, the pictures before it at the right."""

from __future__ import annotations

from typing import Any

import gradio as gr

from imagegen.errors import ImageGenError
from imagegen.languages.translation import translate
from imagegen.schema.tasks import TASKS, TaskName, find_task
from imagegen.service import Service
from ui.components import status_html
from ui.components.events import UNCHECKED_EVENT, UNQUEUED_EVENT
from ui.control_updates import Updates
from ui.forms import Form
from ui.gradio_request import get_user
from ui.messages import describe_problem
from ui.workspace.controls import build_controls
from ui.workspace.job_follower import JobFollower
from ui.workspace.lora_settings import LoraSettings
from ui.workspace.model_values import ModelValues
from ui.workspace.page_state import PageState
from ui.workspace.picture_reading import PictureReading
from ui.workspace.prompt_completion import PromptCompletion
from ui.workspace.saved_form import SavedForm, read_linked_fields, read_saved_fields
from ui.workspace.stage import Stage
from ui.workspace.start_images import StartImages
from ui.workspace.undo import FormUndo


class CreateTab:
    """All tools share one form and one stage."""

    tab_id = "create"

    def __init__(self, service: Service) -> None:
        self.service = service
        self.form = Form(service)
        with gr.Tab("Create", id=self.tab_id) as self.tab, gr.Row(elem_classes="workbench workspace"):
            with gr.Column(elem_classes="controls"):
                self.controls = build_controls(self.form)
            self.completion = PromptCompletion(self.form, self.controls.status)
            self.stage = Stage(service, self.controls.status)
            self.state = gr.State(PageState())
            self.jobs = JobFollower(service, self.form, self.stage, self.controls.queue)
            self.undo = FormUndo(self.form, self.controls.status)
            self.start_images = StartImages(service, self.form, self.undo)
            self.reading = PictureReading(self.form, self.undo, self.start_images, self.controls.report)
            self.saved = SavedForm(self.form)
            self.model_values = ModelValues(self.form)
            self.lora_settings = LoraSettings(service, self.form, self.undo)

    @property
    def outputs(self) -> list[Any]:
        """The components that change when a picture is used again."""
        return [*self.undo.outputs, *(each for each in self.stage.outputs if each is not self.stage.status)]

    def connect(self, demo: gr.Blocks, pages: gr.Tabs) -> None:
        """Connects the controls. They must all be there. `pages` are the tabs of the page."""
        model, seed = self.form.controls["model"], self.form.controls["seed"]
        self.jobs.connect(self.controls.run, self.controls.stop, self.controls.finish, self.state, demo)
        self.stage.connect(self.state)
        self.undo.connect()
        self.start_images.connect(self.state)
        self.reading.connect(self.state, pages, self.tab_id)
        self.saved.connect()
        self.model_values.connect()
        self.lora_settings.connect()
        self.completion.connect()
        demo.load(
            self.restore_form,
            [self.state, self.saved.values, model],
            [self.saved.user, self.controls.status, *self.form.outputs],
            **UNCHECKED_EVENT,
        )
        self.tab.select(self.refresh_choices, [model], self.form.outputs, **UNCHECKED_EVENT)
        self.controls.keep_seed.click(self.copy_seed, [self.state], [seed], **UNQUEUED_EVENT)
        inputs = [self.state, *self.form.inputs]
        self.stage.settings_button.click(self.reuse_settings, inputs, self.undo.outputs, **UNCHECKED_EVENT)
        for task, button in self.stage.send_buttons.items():
            button.click(self._build_send_handler(task), inputs, self.undo.outputs, **UNCHECKED_EVENT)

    async def restore_form(self, http: gr.Request, state: PageState, saved: Any, model: str) -> Updates:
        """Returns the updates that fill the form from the page's link, or with what its user left in it before."""
        user = get_user(http)
        try:
            if fields := read_linked_fields(dict(http.query_params)):
                task = find_task(set(fields))
            elif fields := read_saved_fields(saved, user.id):
                task = next((name for name in TASKS if name == fields.get("tool")), "text_to_image")
            else:
                return {self.saved.user: user.id, **await self.refresh_choices(model)}
            fields = await self.start_images.restore(fields, user, state)
            updates = await self.form.fill_from_fields(fields) | self.form.choose_task(task)
        except ImageGenError as error:
            updates = {self.controls.status: status_html.render_problem(describe_problem(error))}
        return {self.saved.user: user.id, **updates}

    async def refresh_choices(self, model: str) -> Updates:
        """Returns the updates with the models and adapters that are on disk now.

        They leave the model alone unless it is gone: another one may be chosen before they arrive.
        """
        selected_model, choices = await self.form.list_model_choices(model)
        if selected_model == model:
            del choices[self.form.controls["model"]]["value"]
        return choices | await self.form.adapt_to_model(selected_model)

    async def copy_seed(self, state: PageState) -> Any:
        picture = state.history.shown
        return str(picture.receipt.seed) if picture else gr.skip()

    async def reuse_settings(self, state: PageState, *values: Any) -> Updates:
        """Returns the updates that make the form repeat the picture that is shown."""
        picture = state.history.shown
        if picture is None:
            return {self.undo.before: gr.skip()}
        try:
            updates = await self.form.fill_from_receipt(picture.receipt)
        except ImageGenError as error:
            return {self.controls.status: status_html.render_problem(describe_problem(error))}
        return self.undo.offer(updates, values, translate("The settings are those of the picture."))

    async def send_shown(self, task: TaskName, state: PageState, values: tuple[Any, ...]) -> Updates:
        """Returns the updates that make the picture that is shown the start image of a task."""
        picture = state.history.shown
        if picture is None:
            return {self.undo.before: gr.skip()}
        model = values[1 + list(self.form.controls).index("model")]
        try:
            updates = await self.start_images.send(picture, task, model, state)
        except ImageGenError as error:
            return {self.controls.status: status_html.render_problem(describe_problem(error))}
        return self.undo.offer(updates, values, translate("The picture is the start image."))

    def _build_send_handler(self, task: TaskName) -> Any:
        async def send(state: PageState, *values: Any) -> Updates:
            return await self.send_shown(task, state, values)

        return send
