"""Submits jobs from the form, and shows them on the stage until they end."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import gradio as gr

from imagegen.errors import ImageGenError
from imagegen.languages.translation import set_language, translate
from imagegen.schema.base import User
from imagegen.schema.request import GenerationRequest
from imagegen.schema.validation import parse_request
from imagegen.service import Service
from ui.components import status_html
from ui.components.events import LAST_EVENT, UNCHECKED_EVENT, UNQUEUED_EVENT
from ui.control_updates import Updates
from ui.forms import Form
from ui.gradio_request import build_connection_check, find_language, get_user
from ui.messages import describe_problem
from ui.workspace.followed_jobs import FollowedJob
from ui.workspace.page_state import PageState
from ui.workspace.stage import Stage

# How much of the noise of a variation is new.
VARY_STRENGTH = 0.25


class JobFollower:
    """Jobs belong to the user, not to the page: a page that is opened again shows those that still run."""

    def __init__(self, service: Service, form: Form, stage: Stage, queue: gr.HTML) -> None:
        self.service, self.form, self.stage, self.queue = service, form, stage, queue
        # Changes when there is a new job to follow.
        self.newest_job = gr.Textbox("", visible="hidden")
        # workspace.js clicks this when the user has started a job elsewhere.
        self.refresh_button = gr.Button("Refresh", visible="hidden", elem_id="jobs-refresh")

    @property
    def outputs(self) -> list[Any]:
        """The components that change when a job is submitted."""
        return [self.newest_job, self.stage.status, self.queue]

    def connect(self, run: gr.Button, stop: gr.Button, finish: gr.Button, state: gr.State, demo: gr.Blocks) -> None:
        prompt = self.form.controls["prompt"]
        assert isinstance(prompt, gr.Textbox)
        # Each click counts, also while the one before is still on its way.
        gr.on(
            [run.click, prompt.submit],
            self.submit_form,
            [state, *self.form.inputs],
            self.outputs,
            trigger_mode="multiple",
            **UNCHECKED_EVENT,
        )
        shown = [self.newest_job, *self.stage.outputs]
        demo.load(self.restore, [state], shown, **UNQUEUED_EVENT)
        self.refresh_button.click(self.refresh, [state], shown, **UNQUEUED_EVENT, **LAST_EVENT)
        self.newest_job.change(
            self.follow,
            [state],
            [self.queue, *self.stage.outputs],
            show_progress="hidden",
            api_visibility="private",
            **LAST_EVENT,
        )
        stop.click(self.cancel, [state], None, **UNQUEUED_EVENT, **LAST_EVENT)
        finish.click(self.finish_early, [state], [self.stage.status], **UNQUEUED_EVENT, **LAST_EVENT)
        self.stage.vary_button.click(self.vary, [state], self.outputs, trigger_mode="multiple", **UNQUEUED_EVENT)

    async def submit_form(self, http: gr.Request, state: PageState, *values: Any) -> Updates:
        """Submits the request in the form."""
        user = get_user(http)
        try:
            with self.service.count_invalid_request(user):
                return await self.submit(await self.form.build_request(values, user), user, state)
        except Exception as error:
            return {self.stage.status: status_html.render_problem(describe_problem(error))}

    async def vary(self, http: gr.Request, state: PageState) -> Updates:
        """Submits a request for a picture that differs a little from the one that is shown. The form stays as it is."""
        picture, user = state.history.shown, get_user(http)
        if picture is None:
            return {self.queue: gr.skip()}
        fields = picture.receipt.to_request_fields()
        fields |= {"variation_seed": None, "variation_strength": VARY_STRENGTH}
        try:
            return await self.submit(parse_request(fields), user, state)
        except Exception as error:
            return {self.stage.status: status_html.render_problem(describe_problem(error))}

    async def submit(self, request: GenerationRequest, user: User, state: PageState) -> Updates:
        """Submits a request. What runs already goes on, and the new job is followed after it."""
        job_id = await self.service.submit(request, user)
        state.jobs.add([FollowedJob(job_id, request.prompt)])
        state.watched = True
        updates: Updates = {self.newest_job: job_id, self.queue: status_html.render_queue(state.jobs.waiting)}
        if not state.jobs.waiting:
            updates[self.stage.status] = status_html.render_status("preparing", translate("Getting ready"))
        return updates

    async def restore(self, http: gr.Request, state: PageState) -> Updates:
        """Returns the updates for a page that was just opened: the user's pictures, and the jobs that still run."""
        user = get_user(http)
        try:
            state.history = await self.stage.load_history(user)
            updates = await self.add_unfinished_jobs(user, state)
        except ImageGenError as error:
            return {self.stage.status: status_html.render_problem(describe_problem(error))}
        return updates | self.stage.show_history(state.history)

    async def refresh(self, http: gr.Request, state: PageState) -> Updates:
        """Returns the updates with the jobs and pictures that the user has made elsewhere."""
        updates = await self.stage.refresh(state, http)
        try:
            return updates | await self.add_unfinished_jobs(get_user(http), state)
        except ImageGenError as error:
            return {self.stage.status: status_html.render_problem(describe_problem(error))}

    async def add_unfinished_jobs(self, user: User, state: PageState) -> Updates:
        """Returns the update that follows the user's jobs which wait or run."""
        own = [job for job in await self.service.list_unfinished_jobs(user) if job.readable_request]
        state.jobs.add(FollowedJob(job.id, job.request.prompt) for job in own)
        return {self.newest_job: own[-1].id} if own else {}

    async def follow(self, http: gr.Request, state: PageState) -> AsyncGenerator[Updates]:
        """Yields the updates for the followed jobs, one after another. A page that is closed cancels none."""
        user = get_user(http)
        set_language(find_language(http))  # Gradio's queue calls this outside of the request.
        # Gradio empties all outputs if nothing is yielded.
        yield {self.queue: status_html.render_queue(state.jobs.waiting)}
        while (job := state.jobs.current) is not None:
            try:
                async with aclosing(self.follow_job(job.id, user, state)) as job_updates:
                    async for updates in job_updates:
                        yield {self.queue: status_html.render_queue(state.jobs.waiting), **updates}
            except Exception as error:
                status = status_html.render_problem(describe_problem(error))
                yield self.stage.end_job(state, status)
            state.jobs.remove(job.id)

    async def follow_job(self, job_id: str, user: User, state: PageState) -> AsyncGenerator[Updates]:
        """Yields the updates for a job until it ends, or the page is closed."""
        connection_check = build_connection_check()
        job_events = self.service.follow(job_id, user, previews=True, keep_running=True, is_connected=connection_check)
        async with aclosing(job_events) as events:
            async for event in events:
                yield self.stage.update_from_event(event, state)

    async def cancel(self, state: PageState, http: gr.Request) -> None:
        """Cancels the job that runs. Its last event updates the status, so that no late step can overwrite it."""
        if state.jobs.current is not None:
            await self.service.cancel(state.jobs.current.id, get_user(http))

    async def finish_early(self, state: PageState, http: gr.Request) -> Any:
        """Ends the job that runs after its next step, with the picture as it is then."""
        if state.jobs.current is None:
            return gr.skip()
        try:
            await self.service.finish_early(state.jobs.current.id, get_user(http))
        except ImageGenError as error:
            return status_html.render_problem(describe_problem(error))
        return gr.skip()
