"""Builds the page from its tabs and endpoints."""

from __future__ import annotations

from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr

from imagegen.errors import ImageGenError
from imagegen.languages.translation import translate
from imagegen.service import Service
from ui.components.events import UNQUEUED_EVENT
from ui.components.html import create_html
from ui.components.resource_tab import ResourceTab
from ui.components.tool_styles import build_tool_styles
from ui.endpoints import add_generation_endpoints
from ui.gradio_request import get_user
from ui.library_endpoints import add_library_endpoints
from ui.page import Page
from ui.png_info_endpoint import add_png_info_endpoint
from ui.preprocess_endpoint import add_preprocess_endpoint
from ui.resource_endpoints import add_resource_endpoints
from ui.tabs.api import ApiTab
from ui.tabs.create import CreateTab
from ui.tabs.library import LibraryTab
from ui.theme import build_theme

UI_DIR = Path(__file__).parent
LOGO = UI_DIR.parent / "assets" / "logo.svg"
# In this order: language.js and elements.js have what the others need, prompt.js what workspace.js needs, and viewer.js
# what workspace.js and library.js need. picture_units.js has what control_units.js and reference_pictures.js need.
SCRIPTS = (
    "language.js",
    "page.js",
    "elements.js",
    "prompt.js",
    "mask_drawing.js",
    "mask_editor.js",
    "picture_units.js",
    "sections.js",
    "control_units.js",
    "reference_pictures.js",
    "viewer.js",
    "workspace.js",
    "picture_reading.js",
    "library.js",
    "resources.js",
)
STYLE_SHEETS = (
    "page.css",
    "workspace.css",
    "mask_editor.css",
    "picture_units.css",
    "library.css",
    "viewer.css",
    "picture_reading.css",
    "resources.css",
)
FONTS = "fonts.css"
TITLE = "Image Studio"
SECONDS_PER_HOUR = 3600
# The service queues jobs. Gradio's own queue must never delay an event, so that its limits exceed any real load.
MAX_CONCURRENT_EVENTS = 1000
QUEUE_POLL_SECONDS = 0.005


def build_ui(service: Service) -> gr.Blocks:
    demo = Page(
        title=TITLE, fill_width=True, analytics_enabled=False, delete_cache=(SECONDS_PER_HOUR, 24 * SECONDS_PER_HOUR)
    )
    with demo:
        build_header(service, demo)
        with gr.Tabs(elem_classes="doors") as pages:
            create = CreateTab(service)
            library = LibraryTab(service, create, pages)
            models_tab, adapters_tab = ResourceTab("Models", "models"), ResourceTab("LoRAs", "loras")
            api = ApiTab(service, create.form)
        create.connect(demo, pages)
        library.connect()
        api.connect()
        connect_use_buttons(models_tab, adapters_tab, create, pages)
        add_generation_endpoints(service, demo)
        add_resource_endpoints(service, demo)
        add_preprocess_endpoint(service, demo)
        add_png_info_endpoint(service, demo)
        add_library_endpoints(service, demo)
    demo.queue(max_size=MAX_CONCURRENT_EVENTS, default_concurrency_limit=None, api_open=False)
    # By default it polls a thousand times a second, which takes 5 % of a processor core from the worker.
    demo._queue.sleep_when_free = QUEUE_POLL_SECONDS  # noqa: SLF001 Gradio has no public way.
    return demo


def get_launch_options() -> dict[str, Any]:
    """Returns the options of the page that Gradio accepts only at launch."""
    return {
        "theme": build_theme(),
        "css_paths": [UI_DIR / name for name in STYLE_SHEETS],
        "head": f"<style>{read_files(FONTS)}{build_tool_styles()}</style><script>{read_files(*SCRIPTS)}</script>",
        "favicon_path": LOGO,
        "footer_links": ["api"],
        "max_threads": MAX_CONCURRENT_EVENTS,
    }


def read_files(*names: str) -> str:
    return "\n".join((UI_DIR / name).read_text(encoding="utf-8") for name in names)


def shrink_session_state(demo: gr.Blocks) -> None:
    """Stops Gradio from storing a description of the page in each session, which every call over HTTP starts.

    It takes half of the call's time and stays in memory. Only deep links use it, and GradioRoutes blocks those.
    """
    empty_page: Any = SimpleNamespace(
        default_config=demo.default_config, blocks={}, state_session_capacity=demo.state_session_capacity
    )
    demo.server_app.state_holder.set_blocks(empty_page)


def connect_use_buttons(models_tab: ResourceTab, adapters_tab: ResourceTab, create: CreateTab, tabs: gr.Tabs) -> None:
    """Connects the buttons that select a model or an adapter in the tab "Create", or show why they cannot."""
    form = create.form

    async def use_model(reference: str) -> Any:
        try:
            _, choices = await form.list_model_choices(reference)
            updates = choices | await form.adapt_to_model(reference, defaults=True)
        except ImageGenError as error:
            return {models_tab.problem: str(error)}
        return {tabs: gr.Tabs(selected=create.tab_id), models_tab.problem: "", **updates}

    async def use_adapter(reference: str, model: str, prompt: str, *selected: list[str] | None) -> Any:
        try:
            updates = await form.add_adapter(reference, model, selected, prompt)
        except ImageGenError as error:
            return {adapters_tab.problem: str(error)}
        return {tabs: gr.Tabs(selected=create.tab_id), adapters_tab.problem: "", **updates}

    selection = [form.controls[name] for name in ("model", "prompt", "loras", "embeddings")]
    models_tab.connect_use(use_model, [], [tabs, *form.outputs])
    adapters_tab.connect_use(use_adapter, selection, [tabs, *form.outputs])


def build_header(service: Service, demo: gr.Blocks) -> None:
    """Builds the title, the model with its state, which the page polls until it is ready, and the signed-in user."""
    with gr.Row(elem_classes="masthead"):
        create_html(f"{LOGO.read_text(encoding='utf-8')}<h1>{TITLE}</h1>", elem_classes="name")
        badge = create_html(render_readiness(service), elem_classes="badge")
        create_html("<studio-language></studio-language>", elem_classes="language")
        user_html = create_html("", elem_classes="visitor")
    timer = gr.Timer(1)

    async def poll_readiness() -> tuple[str, gr.Timer]:
        return render_readiness(service), gr.Timer(active=set(service.worker_states.values()) != {"ready"})

    async def render_user(http: gr.Request) -> str:
        return "" if service.settings.access_mode == "open" else render_sign_out(get_user(http).name)

    gr.on([demo.load, timer.tick], poll_readiness, None, [badge, timer], **UNQUEUED_EVENT)
    demo.load(render_user, None, [user_html], **UNQUEUED_EVENT)


def render_readiness(service: Service) -> str:
    """Returns the state of the studio, and that of each worker when there are several."""
    state = service.worker_state
    states = service.worker_states.items() if len(service.worker_states) > 1 else ()
    listed = escape(", ".join(f"{worker} {translate(worker_state)}" for worker, worker_state in states))
    workers = f' <span class="workers">({listed})</span>' if listed else ""
    return f'<p class="{state.replace(" ", "-")}" role="status"><span>{translate(state)}</span>{workers}</p>'


def render_sign_out(name: str) -> str:
    """Returns the sign-out form. Its address is relative, so that it works behind any proxy."""
    button = f"<button>{escape(translate('Sign out'))}</button>"
    return f'<form method="post" action="logout"><span>{escape(name)}</span>{button}</form>'
