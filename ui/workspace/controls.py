"""The controls of the tools: what is chosen often is in view, the rest is in sections that are closed at first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import gradio as gr

from imagegen.languages.translation import mark
from imagegen.schema.request import INPUT_IMAGES
from imagegen.schema.tasks import TASKS, TaskName
from ui.components import status_html
from ui.components.events import UNQUEUED_EVENT
from ui.components.html import create_html
from ui.forms import Form
from ui.workspace.size_controls import ASPECT_RATIOS

COUNTS = (1, 2, 4)
# Chooses a tool. One with values of its own brings them; with the next tool the values from before come back. A picture
# that was sent to a tool brought its values, too: after these, the usual ones come.
CHOOSE_TOOL = """(...values) => {
  const { dataset } = document.querySelector(".workspace");
  const [tool, own, known, usual] = %s;
  const before = dataset.before ? JSON.parse(dataset.before)
    : values.map((value, index) => known[index].includes(value) ? usual[index] : value);
  delete dataset.before;
  if (own.some((value) => value !== null)) dataset.before = JSON.stringify(before);
  return [tool, ...own.map((value, index) => value ?? before[index])];
}"""


@dataclass(frozen=True)
class Controls:
    """The buttons of the controls, the line that tells how things stand, and the list of the jobs that wait.

    `report` is the list of what was read from a picture.
    """

    run: gr.Button
    stop: gr.Button
    finish: gr.Button
    keep_seed: gr.Button
    status: gr.HTML
    queue: gr.HTML
    report: gr.HTML


def build_controls(form: Form) -> Controls:
    with gr.Column(elem_classes="scroll"):
        with gr.Column(elem_classes="subject"):
            tabs = add_tools(form)
            form.textbox(
                "prompt", lines=3, max_lines=12, info=None, placeholder="Describe a picture", elem_classes="prompt"
            )
            create_html(render_file_choice(), elem_classes="read-from-picture")
            report = create_html("", elem_classes="read-report")
        with gr.Column(elem_classes="settings"):
            keep_seed = add_settings(form)
    connect_tools(form, tabs)
    with gr.Column(elem_classes="run-bar"):
        queue = create_html("", elem_classes="queue")
        status = create_html(status_html.render_idle(), elem_classes="status")
        with gr.Row(elem_classes="run"):
            # Opens the settings on a small screen. page.js connects it.
            gr.Button("Settings", elem_classes="sheet-button")
            run = gr.Button("Generate", variant="primary", elem_classes="generate")
            finish = gr.Button("Keep what is there", elem_classes="finish with-icon")
            stop = gr.Button("Stop", variant="stop", elem_classes="stop")
    return Controls(run, stop, finish, keep_seed, status, queue, report)


def render_file_choice() -> str:
    """Returns the choice of a picture file whose settings picture_reading.js reads."""
    text = mark("Settings from a picture …")
    return f'<label data-read-settings><span>{text}</span><input type="file" accept="image/*"></label>'


def add_settings(form: Form) -> gr.Button:
    """Adds all controls but the prompt and the input pictures. Returns the button that reuses a seed."""
    for field in ("strength", "mask_area", "mask_fill"):
        form.add_control(field)
    add_extension(form)
    form.textbox("negative_prompt", lines=1, max_lines=6, info=None)
    with gr.Column(elem_classes="chosen"):
        form.model_dropdown()
        form.lora_controls()
    form.control_units()
    form.reference_pictures()
    sizes = form.size_controls()
    choices = [(f"\N{MULTIPLICATION SIGN}{number}", number) for number in COUNTS]
    count = gr.Radio(choices, value=1, label="Pictures", elem_classes="switch pictures")
    keep_seed = add_seed(form)
    form.slider("steps", step=1)
    form.slider("guidance_scale", step=0.5)
    form.slider("scale", step=0.5)
    form.add_control("upscaler")
    form.section("hires_scale", mark("Hires fix"))
    form.section("detail_detector", mark("Detailer"))
    with gr.Accordion("Advanced", open=False, elem_classes="advanced closable"):
        with gr.Row(elem_classes="pair sides"):
            width = form.slider("width", step=8, info=None)
            height = form.slider("height", step=8, info=None)
        batch_size = form.slider("batch_size", step=1)
        form.text_list("more_prompts", lines=2, max_lines=7, placeholder="One a line")
        form.dropdown("sampler")
        form.embedding_dropdown()
        form.add_remaining_controls()
    count.input(None, count, batch_size, js="(count) => count", **UNQUEUED_EVENT)
    shown_count = f"(size) => {list(COUNTS)}.includes(size) ? size : null"
    batch_size.change(None, batch_size, count, js=shown_count, **UNQUEUED_EVENT)
    sizes.connect(width, height)
    return keep_seed


def add_extension(form: Form) -> None:
    """Adds the controls that extend a picture: to a ratio, or by pixels at each side."""
    ratios = [(mark("Free"), ""), *((ratio, ratio) for ratio in ASPECT_RATIOS)]
    with gr.Column(elem_classes="extension"):
        form.optional_dropdown("extend_ratio", choices=ratios, value="", info=None)
        for pair in (("extend_left", "extend_right"), ("extend_top", "extend_bottom")):
            with gr.Row(elem_classes="pair"):
                for field in pair:
                    form.slider(field, step=8, info=None)


def add_tools(form: Form) -> Mapping[TaskName, gr.Tab]:
    """Adds a tab for each task, and below them the input pictures of all tasks. Returns the tabs."""
    tabs: dict[TaskName, gr.Tab] = {}
    with form.tool_choice():
        for name, task in TASKS.items():
            with gr.Tab(task.tab, id=name) as tab:
                pass
            tabs[name] = tab
    for field in INPUT_IMAGES:
        form.image(field, sources=["upload", "clipboard"], height=150, elem_classes="start")
    create_html(f'<button type="button" data-mask>{mark("Paint the mask")}</button>', elem_classes="paint-mask")
    return tabs


def connect_tools(form: Form, tabs: Mapping[TaskName, gr.Tab]) -> None:
    """Connects the tabs of the tasks with the form."""
    fields = list(dict.fromkeys(field for task in TASKS.values() for field in task.own_values))
    known = [[task.own_values[field] for task in TASKS.values() if field in task.own_values] for field in fields]
    usual = [form.get_default(field) for field in fields]
    controls = [form.controls[field] for field in fields]
    for name, tab in tabs.items():
        own = [TASKS[name].own_values.get(field) for field in fields]
        choose = CHOOSE_TOOL % json.dumps([name, own, known, usual])
        tab.select(None, controls, [form.tool, *controls], js=choose, **UNQUEUED_EVENT)


def add_seed(form: Form) -> gr.Button:
    """Adds the seed with a button that clears it. Returns the button that takes over the seed of the picture."""
    with gr.Row(elem_classes="seed"):
        seed = form.number("seed", placeholder="New each time", info=None)
        clear = gr.Button("New seed each time", size="sm", elem_classes="dice with-icon")
        keep_seed = gr.Button("Reuse seed", size="sm", elem_classes="keep with-icon")
    clear.click(None, None, seed, js="() => ''", **UNQUEUED_EVENT)
    return keep_seed
