"""The tab where words become a picture."""

from __future__ import annotations

import json

import gradio as gr

from imagegen.service import Service
from ui.forms import Form
from ui.stack import AT_ONCE
from ui.tabs.generation import PictureArea, run_buttons, usual_controls

EXAMPLES = (
    "a yellow boat on the sea at noon",
    "a yellow star above a purple heart on white",
    "a lake at sunset with a boat, oil painting",
    "pixel art of a city at night",
    "a green car on a gray background",
    "a sheep in a meadow with flowers and a rainbow",
)


def text_to_image(service: Service) -> PictureArea:
    form = Form(service)
    with gr.Tab("Text to image", id="text-to-image") as tab, gr.Row(elem_classes="workbench"):
        with gr.Column(elem_classes="controls"):
            prompt = form.textbox("prompt", lines=3, max_lines=8, autofocus=True, elem_classes="prompt")
            run, stop = run_buttons()
            examples(prompt)
            usual_controls(form)
        area = PictureArea(service, form, tab, send="Send to image to image")
    area.connect(run, stop)
    return area


def examples(prompt: gr.Textbox) -> None:
    with gr.Row(elem_classes="examples"):
        for text in EXAMPLES:
            button = gr.Button(text, size="sm", elem_classes="example")
            button.click(None, None, prompt, js=f"() => {json.dumps(text)}", **AT_ONCE)
