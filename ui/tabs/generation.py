"""What the tabs that make pictures have in common: where a picture forms, and what can be done with it then."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from imagegen.schema import Cancelled, Event, Failed, Loading, Picture, Progress, Queued, Result, Started, User
from imagegen.service import Service
from ui import stage
from ui.forms import Form, Updates
from ui.stack import AS_IT_IS, AT_ONCE
from ui.visitors import user_of, while_watched
from ui.wording import STOPPED, describe, done, message_of

SHELF_SIZE = 48


@dataclass(frozen=True)
class Shelf:
    """The pictures that a visitor made since opening the page, newest first, and the one that is looked at."""

    pictures: tuple[Picture, ...] = ()
    index: int = 0

    @property
    def picture(self) -> Picture | None:
        return self.pictures[self.index] if self.pictures else None

    def with_new(self, pictures: tuple[Picture, ...]) -> Shelf:
        new = {picture.id for picture in pictures}
        before = tuple(picture for picture in self.pictures if picture.id not in new)
        return Shelf((pictures + before)[:SHELF_SIZE])


class PictureArea:
    """The stage on which a picture forms, and beside it the facts about it and the pictures before it."""

    def __init__(self, service: Service, form: Form, tab: gr.Tab, send: str) -> None:
        self.service, self.form, self.tab = service, form, tab
        self.shelf = gr.State(Shelf())
        self.job = gr.State(None)
        with gr.Column(elem_classes="canvas"):
            self.stage = html(stage.empty())
            self.status = html(stage.idle(), elem_classes="status")
        with gr.Column(elem_classes="side"):
            self.details = html(stage.no_details(), elem_classes="details")
            with gr.Row(visible=False, elem_classes="actions") as self.actions:
                self.reuse_seed = gr.Button("Reuse seed", size="sm")
                self.reuse_settings = gr.Button("Reuse settings", size="sm")
                self.send = gr.Button(send, size="sm")
            self.gallery = gr.Gallery(
                label="Made on this visit",
                show_label=False,
                visible=False,
                columns=4,
                format="png",
                type="filepath",
                object_fit="cover",
                allow_preview=False,
                interactive=False,
                buttons=[],
                elem_classes="shelf",
            )

    def connect(self, run: gr.Button, stop: gr.Button) -> None:
        """Makes the buttons work. The form must have all its controls by now."""
        outputs: list[Any] = [self.shelf, self.stage, self.status, self.details, self.actions, self.gallery]
        prompt, seed = self.form.controls["prompt"], self.form.controls["seed"]
        assert isinstance(prompt, gr.Textbox)
        gr.on(
            [run.click, prompt.submit],
            self.generate,
            [self.shelf, *self.form.inputs],
            [self.job, *outputs],
            preprocess=False,
            trigger_mode="once",
            show_progress="hidden",
            api_visibility="private",
        )
        stop.click(self.stop, [self.job], None, **AT_ONCE)
        self.gallery.select(self.select, [self.shelf], outputs, **AT_ONCE)
        self.reuse_seed.click(self.seed, [self.shelf], [seed], **AT_ONCE)
        self.reuse_settings.click(self.settings, [self.shelf], [self.status, *self.form.outputs], **AT_ONCE)
        model, loras = self.form.controls["model"], self.form.controls["loras"]
        assert isinstance(model, gr.Dropdown)
        model.input(self.choose, [model, loras, self.form.suits], self.form.outputs, **AS_IT_IS)

    async def generate(self, http: gr.Request, shelf: Shelf, *values: Any) -> AsyncGenerator[Updates]:
        yield {self.status: stage.told("preparing", "Getting ready")}
        user = user_of(http)
        try:
            request = await self.form.request(values, user)
            job_id = await self.service.submit(request, user)
            async with aclosing(self.watch(job_id, user, shelf)) as watched:
                async for updates in watched:
                    yield updates
        except Exception as error:
            yield self.ended(shelf, stage.told("failed", message_of(error)))

    async def watch(self, job_id: str, user: User, shelf: Shelf) -> AsyncGenerator[Updates]:
        """Follows a job to its end. When the visitor leaves before, there is nobody left to paint for."""
        async with aclosing(while_watched(self.service.follow(job_id, user, previews=True))) as events:
            async for event in events:
                yield {self.job: job_id, **self.updates(event, shelf)}

    async def stop(self, job_id: str | None, http: gr.Request) -> None:
        """Ends the job, and leaves it to its last event to tell so: then no late step can be told after it."""
        if job_id is not None:
            await self.service.cancel(job_id, user_of(http))

    def updates(self, event: Event, shelf: Shelf) -> Updates:
        match event:
            case Queued() | Started() | Loading():
                return {self.status: stage.waiting(describe(event))}
            case Progress():
                updates: Updates = {self.status: stage.painting(event)}
                if event.preview is not None:
                    updates[self.stage] = stage.preview(event.preview, event.share)
                return updates
            case Result():
                return self.filled(shelf.with_new(event.pictures), done(event))
            case Failed():
                return self.ended(shelf, stage.told("failed", event.message))
            case Cancelled():
                return self.ended(shelf, stage.told("stopped", STOPPED))

    def filled(self, shelf: Shelf, status: str) -> Updates:
        files = [
            (str(self.service.images.path(picture.id)), picture.receipt.prompt[:200]) for picture in shelf.pictures
        ]
        return {
            **self.looked_at(shelf),
            self.status: stage.told("done", status),
            self.actions: gr.Row(visible=True),
            self.gallery: gr.Gallery(files, visible=True, selected_index=0),
        }

    def looked_at(self, shelf: Shelf) -> Updates:
        picture = shelf.picture
        if picture is None:
            return {self.stage: stage.empty()}
        file = self.service.images.path(picture.id)
        return {
            self.shelf: shelf,
            self.stage: stage.finished(picture, file),
            self.details: stage.details(picture, file),
        }

    def ended(self, shelf: Shelf, status: str) -> Updates:
        """There is no new picture: the stage shows again what it showed before."""
        return {**self.looked_at(shelf), self.status: status}

    async def select(self, shelf: Shelf, chosen: gr.SelectData) -> Updates:
        return self.looked_at(replace(shelf, index=chosen.index))

    async def seed(self, shelf: Shelf) -> Any:
        return str(shelf.picture.receipt.seed) if shelf.picture else gr.skip()

    async def settings(self, shelf: Shelf) -> Any:
        if shelf.picture is None:
            return {self.status: stage.idle()}
        try:
            return await self.form.filled(shelf.picture.receipt)
        except Exception as error:
            return {self.status: stage.told("failed", message_of(error))}

    async def choose(self, model: str, loras: list[str], before: str) -> Any:
        """Gradio also tells of a choice when the list of models is left with nothing chosen."""
        if model == before:
            return {self.form.suits: gr.skip()}
        return await self.form.suited(model, worn=loras, defaults=True)

    async def refresh(self, model: str) -> Any:
        """What can be chosen, as it is now."""
        shown, choices = await self.form.choices(model)
        return choices | await self.form.suited(shown)


def html(value: str, **options: Any) -> gr.HTML:
    return gr.HTML(value, js_on_load=None, apply_default_css=False, **options)


def run_buttons() -> tuple[gr.Button, gr.Button]:
    with gr.Row(elem_classes="run"):
        run = gr.Button("Generate", variant="primary", elem_classes="generate")
        stop = gr.Button("Stop", variant="stop", elem_classes="stop")
    return run, stop


def usual_controls(form: Form, strength: bool = False) -> None:
    """What decides a picture besides the prompt and, perhaps, a picture to start from."""
    with gr.Column(elem_classes="chosen"):
        form.models()
        form.loras()
    with gr.Row(elem_classes="often"):
        if strength:
            form.slider("strength", step=0.05)
        form.number("seed", placeholder="New each time")
        form.slider("batch_size", step=1)
    with gr.Accordion("More settings", open=False, elem_classes="settings"):
        form.textbox("negative_prompt", lines=2)
        form.lines("more_prompts", lines=2, max_lines=7, placeholder="One a line")
        with gr.Row(elem_classes="pair"):
            form.slider("width", step=8, info=None)
            form.slider("height", step=8, info=None)
        form.slider("steps", step=1)
        form.slider("guidance_scale", step=0.5)
        form.dropdown("sampler")
        form.slider("clip_skip", step=1)
        form.slider("step_cache", step=0.05)
        form.embeddings()
