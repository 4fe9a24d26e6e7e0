"""The tab that shows the request in a form as code for programs."""

from __future__ import annotations

import asyncio
from html import escape
from typing import Any

import gradio as gr

from imagegen.errors import ImageGenError
from imagegen.languages.messages import translate_message
from imagegen.languages.translation import translate
from imagegen.schema.models import ModelInfo
from imagegen.schema.request import INPUT_IMAGES
from imagegen.schema.tasks import TASKS, TaskName
from imagegen.schema.validation import fill_in_defaults, parse_request
from imagegen.service import Service
from imagegen.settings import HUGGING_FACE_URL, Settings
from ui.code_samples import LANGUAGES, TOKEN_VARIABLE, SampleRequest, select_non_default_fields
from ui.components import status_html
from ui.components.events import UNCHECKED_EVENT
from ui.components.examples import EXAMPLES
from ui.components.html import create_html, translate_html
from ui.control_updates import Updates, find_unsupported_fields
from ui.forms import Form, leave_out_unused, parse_task

# Represents the picture that the code reads from a file.
PLACEHOLDER_IMAGE_ID = "0" * 64


class ApiTab:
    """Shows the current values of the form as code, also when the service would refuse them."""

    def __init__(self, service: Service, form: Form) -> None:
        self.service, self.form = service, form
        with gr.Tab("API", id="api") as self.tab, gr.Row(elem_classes="workbench telling"):
            with gr.Column(elem_classes="controls"):
                self.language = gr.Radio(
                    list(LANGUAGES),
                    value=next(iter(LANGUAGES)),
                    label="Code",
                    elem_classes="switch",
                )
                self.notes = create_html("", elem_classes="notes")
            with gr.Column(elem_classes="canvas"):
                self.status = create_html(status_html.render_idle(), elem_classes="status")
                self.code = gr.Code(
                    label="Code",
                    show_label=False,
                    container=False,
                    interactive=False,
                    wrap_lines=True,
                    show_line_numbers=False,
                    buttons=["copy"],
                    elem_classes="code",
                )

    def connect(self) -> None:
        """Connects the controls. The form must have all of its own."""
        inputs = [self.language, *self.form.inputs]
        outputs = [self.code, self.status, self.notes]
        for add_listener in (self.tab.select, self.language.input):
            add_listener(self.update_code, inputs, outputs, **UNCHECKED_EVENT)

    async def update_code(self, http: gr.Request, language: str, *values: Any) -> Updates:
        base_url = get_base_url(http)
        fields = self.form.read_fields(values)
        images = tuple(name for name in INPUT_IMAGES if name in fields)
        fields = {name: value for name, value in fields.items() if name not in images}
        if "prompt" in fields:
            fields["prompt"] = fields["prompt"] or EXAMPLES[0].prompt
        model, problem = await asyncio.to_thread(self._resolve_model, fields, images)
        fields = leave_out_unused(
            {name: value for name, value in fields.items() if name not in find_unsupported_fields(model)}
        )
        changed_fields = select_non_default_fields(fields, model, self.service.model_manager.get_default().id)
        code_language, settings = LANGUAGES[language], self.service.settings
        code = code_language.write(
            SampleRequest(base_url, changed_fields, images, needs_token=settings.access_mode != "open")
        )
        return {
            self.code: gr.Code(code, language=code_language.syntax),
            self.status: status_html.render_problem(
                translate("The studio would refuse this: {problem}", problem=translate_message(problem))
            )
            if problem
            else status_html.render_idle(),
            self.notes: render_notes(base_url, settings, parse_task(values[0])),
        }

    def _resolve_model(self, fields: dict[str, Any], images: tuple[str, ...]) -> tuple[ModelInfo, str | None]:
        """Returns the model of the request, and the problem for which the service would refuse it, if there is one."""
        model = self.service.model_manager.get_default()
        try:
            model, _ = self.service.model_manager.resolve_model(fields.get("model"))
            supported_fields = {
                name: value for name, value in fields.items() if name not in find_unsupported_fields(model)
            }
            request = parse_request(leave_out_unused(supported_fields | dict.fromkeys(images, PLACEHOLDER_IMAGE_ID)))
            if TASKS[request.task].paints:
                fill_in_defaults(request, model, seed=0)
            self.service.model_manager.resolve_upscalers(request)
        except ImageGenError as error:
            return model, str(error)
        return model, None


def get_base_url(http: gr.Request) -> str:
    """Returns the address of the studio as the browser sees it."""
    assert http.request is not None
    return str(http.request.base_url).rstrip("/")


def render_notes(base_url: str, settings: Settings, task: TaskName) -> str:
    """Returns which tool the code is for, what the token is, and the other APIs.

    Links are relative, so that they work behind any proxy.
    """
    variable = f"<code>{TOKEN_VARIABLE}</code>"
    token = escape(describe_token(settings)).replace("{variable}", variable) if settings.access_mode != "open" else ""
    tool = translate(TASKS[task].label)
    return (
        f"<p>{translate_html('The code is for {tool}, the tool that is open under Create.', tool=tool)}</p>"
        f"{token and f'<p>{token}</p>'}"
        f'<p><a href="docs" target="_blank">{translate_html("All routes under /v1")}</a></p>'
        f'<p><button type="button" data-endpoints>{translate_html("Endpoints for gradio_client")}</button></p>'
        f"<dl><div><dt>MCP</dt><dd><code>{escape(base_url)}/gradio_api/mcp/</code></dd></div>"
        f"<div><dt>{translate_html('Like AUTOMATIC1111')}</dt><dd><code>{escape(base_url)}/sdapi/v1</code></dd></div>"
        f"<div><dt>{translate_html('Like Hugging Face')}</dt><dd><code>{escape(base_url)}/hf</code></dd></div></dl>"
    )


def describe_token(settings: Settings) -> str:
    """Returns a sentence that says what a program sends as its token, the value of {variable}."""
    if settings.access_mode == "keys":
        return translate("{variable} is your key of this studio.")
    provider = settings.openid_provider_url.rstrip("/")
    if provider == HUGGING_FACE_URL:
        return translate("{variable} is your Hugging Face token.")
    return translate("{variable} is your access token of {provider}.", provider=provider)
