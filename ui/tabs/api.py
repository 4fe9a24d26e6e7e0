"""The tab that shows the request in a form as code for programs."""

from __future__ import annotations

import asyncio
import json
from html import escape
from typing import Any

import gradio as gr

from imagegen.errors import ImageGenError
from imagegen.info import ModelInfo
from imagegen.service import Service
from imagegen.settings import HUGGING_FACE, Settings
from imagegen.validation import parse_request, resolved
from ui import stage
from ui.examples import LANGUAGES, TOKEN, Call, worth_saying
from ui.forms import Updates, hidden
from ui.stack import AS_IT_IS, AT_ONCE
from ui.tabs.generation import PictureArea, html
from ui.tabs.text_to_image import EXAMPLES

# Stands for the picture that the code opens by itself.
SOME_PICTURE = "0" * 64


class ApiTab:
    """Shows what stands in the tabs of the `areas`, whether it could be generated or not."""

    def __init__(self, service: Service, *areas: PictureArea) -> None:
        self.service = service
        self.areas = {str(area.tab.label): area for area in areas}
        titles = list(self.areas)
        with gr.Tab("API", id="api") as self.tab, gr.Row(elem_classes="workbench telling"):
            with gr.Column(elem_classes="controls"):
                self.title = gr.Radio(
                    titles,
                    value=titles[0],
                    label="Request",
                    info="As it stands in that tab now.",
                    elem_classes="switch",
                )
                self.language = gr.Radio(
                    list(LANGUAGES), value=next(iter(LANGUAGES)), label="Code", elem_classes="switch"
                )
                self.notes = html("", elem_classes="notes")
            with gr.Column(elem_classes="canvas"):
                self.status = html(stage.idle(), elem_classes="status")
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
        self._connect()

    def _connect(self) -> None:
        asked = [self.title, self.language, *(each for area in self.areas.values() for each in area.form.inputs)]
        shown = [self.code, self.status, self.notes]
        for chosen in (self.tab.select, self.title.input, self.language.input):
            chosen(self.show, asked, shown, **AS_IT_IS)
        for title, area in self.areas.items():
            area.tab.select(None, None, self.title, js=f"() => {json.dumps(title)}", **AT_ONCE)

    async def show(self, http: gr.Request, title: str, language: str, *values: Any) -> Updates:
        area, address = self.areas[title], address_of(http)
        fields = area.form.fields(self._of(area, values))
        from_picture = "init_image" in fields
        fields.pop("init_image", None)
        fields["prompt"] = fields["prompt"] or EXAMPLES[0]
        model, problem = await asyncio.to_thread(self._checked, fields, from_picture)
        fields = {name: value for name, value in fields.items() if name not in hidden(model)}
        said = worth_saying(fields, model, self.service.stock.default().id)
        chosen, settings = LANGUAGES[language], self.service.settings
        code = chosen.write(Call(address, said, from_picture, signed_in=settings.mode != "open"))
        return {
            self.code: gr.Code(code, language=chosen.colours),
            self.status: stage.told("failed", f"Refused as it stands: {problem}") if problem else stage.idle(),
            self.notes: notes(address, settings),
        }

    def _of(self, area: PictureArea, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Those of all values that are this area's."""
        first = 0
        for each in self.areas.values():
            if each is area:
                break
            first += len(each.form.inputs)
        return values[first : first + len(area.form.inputs)]

    def _checked(self, fields: dict[str, Any], from_picture: bool) -> tuple[ModelInfo, str | None]:
        """The model that is asked for, and what it would refuse, if anything."""
        model = self.service.stock.default()
        try:
            model, _ = self.service.stock.model(fields["model"])
            useful = {name: value for name, value in fields.items() if name not in hidden(model)}
            resolved(parse_request(useful | ({"init_image": SOME_PICTURE} if from_picture else {})), model, seed=0)
        except ImageGenError as error:
            return model, str(error)
        return model, None


def address_of(http: gr.Request) -> str:
    """Where the browser finds the studio."""
    assert http.request is not None
    return str(http.request.base_url).rstrip("/")


def notes(address: str, settings: Settings) -> str:
    """What the token is, and what other ways there are. Links are relative, so that they are right behind any proxy."""
    token = f"<p><code>{TOKEN}</code> is {escape(tokens(settings))}.</p>" if settings.mode != "open" else ""
    return (
        f'{token}<p><a href="docs" target="_blank">All routes under /v1</a>, with what they take and give.</p>'
        f"<dl><div><dt>MCP</dt><dd><code>{escape(address)}/gradio_api/mcp/</code></dd></div>"
        f"<div><dt>Like AUTOMATIC1111</dt><dd><code>{escape(address)}/sdapi/v1</code></dd></div></dl>"
    )


def tokens(settings: Settings) -> str:
    """What a program shows instead of signing in."""
    if settings.mode == "keys":
        return "your key of this studio"
    provider = settings.openid_provider_url.rstrip("/")
    return "your Hugging Face token" if provider == HUGGING_FACE else f"your access token of {provider}"
