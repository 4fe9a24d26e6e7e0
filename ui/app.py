"""The page, put together."""

from __future__ import annotations

import asyncio
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr

from imagegen.errors import ImageGenError
from imagegen.service import Service
from ui import stage
from ui.endpoints import add_endpoints
from ui.stack import AS_IT_IS, AT_ONCE
from ui.stock_endpoints import add_stock_endpoints
from ui.tabs.api import ApiTab
from ui.tabs.generation import PictureArea, html
from ui.tabs.image_to_image import connect_send, image_to_image
from ui.tabs.loras import AdapterShelves
from ui.tabs.models import ModelShelves
from ui.tabs.text_to_image import text_to_image
from ui.theme import theme
from ui.visitors import user_of

HERE = Path(__file__).parent
LOGO = HERE.parent / "assets" / "logo.svg"
TITLE = "Image Studio"
HOUR = 3600
# The queue of jobs is the service's. Gradio's must never hold an event back, so it gets room for more than can come.
EVENTS_AT_ONCE = 1000
LOOK_FOR_WORK = 0.005


def build_ui(service: Service) -> gr.Blocks:
    demo = gr.Blocks(title=TITLE, fill_width=True, analytics_enabled=False, delete_cache=(HOUR, 24 * HOUR))
    with demo:
        header(service, demo)
        with gr.Tabs(elem_classes="doors") as tabs:
            text, image = text_to_image(service), image_to_image(service)
            models, adapters = ModelShelves(service), AdapterShelves(service)
            ApiTab(service, text, image)
        connect_send(text, image, tabs)
        connect_send(image, image, tabs)
        connect_use(models, adapters, text, tabs)
        keep_current(demo, text, image)
        add_endpoints(service, demo)
        add_stock_endpoints(service, demo)
    demo.queue(max_size=EVENTS_AT_ONCE, default_concurrency_limit=None, api_open=False)
    # It looks for work a thousand times a second, which takes a twentieth of a processor from whoever paints.
    demo._queue.sleep_when_free = LOOK_FOR_WORK  # noqa: SLF001 Gradio has no public way.
    return demo


def launch_options() -> dict[str, Any]:
    """What belongs to the page, and Gradio takes only when it is launched."""
    script = (HERE / "page.js").read_text(encoding="utf-8")
    return {
        "theme": theme(),
        "css_paths": [HERE / "page.css"],
        "head": f"<script>{script}</script>",
        "favicon_path": LOGO,
        "footer_links": ["api"],
        "max_threads": EVENTS_AT_ONCE,
    }


def keep_sessions_small(demo: gr.Blocks) -> None:
    """Gradio begins each session, and so each call over plain HTTP, with a description of all that is on the page.

    That takes half of the call's time, stays in memory, and is for links to how a page stands, which the gate closes.
    """
    nothing_to_describe: Any = SimpleNamespace(
        default_config=demo.default_config, blocks={}, state_session_capacity=demo.state_session_capacity
    )
    demo.server_app.state_holder.set_blocks(nothing_to_describe)


def keep_current(demo: gr.Blocks, *areas: PictureArea) -> None:
    """What can be chosen changes while the page is open: it is looked up anew whenever a tab is turned to."""
    for area in areas:
        chosen = area.form.controls["model"]
        gr.on([demo.load, area.tab.select], area.refresh, [chosen], area.form.outputs, **AS_IT_IS)


def connect_use(models: ModelShelves, adapters: AdapterShelves, text: PictureArea, tabs: gr.Tabs) -> None:
    """From a shelf to the tab where words become a picture; or a word on why not."""
    form = text.form

    async def use_model(reference: str | None) -> Any:
        if reference is None:
            return {tabs: gr.skip()}
        try:
            _, choices = await form.choices(reference)
            updates = choices | await form.suited(reference, defaults=True)
        except ImageGenError as error:
            return {models.status: stage.told("failed", str(error))}
        return {tabs: gr.Tabs(selected="text-to-image"), **updates}

    async def use_adapter(reference: str | None, model: str, *worn: list[str] | None) -> Any:
        if reference is None:
            return {tabs: gr.skip()}
        try:
            kind = await asyncio.to_thread(adapters.kind, reference)
            updates = await form.with_adapter(kind, reference, model, worn)
        except ImageGenError as error:
            return {adapters.status: stage.told("failed", str(error))}
        return {tabs: gr.Tabs(selected="text-to-image"), **updates}

    chosen = [form.controls[name] for name in ("model", "loras", "embeddings")]
    models.use.click(use_model, [models.list], [tabs, models.status, *form.outputs], **AS_IT_IS)
    adapters.use.click(use_adapter, [adapters.list, *chosen], [tabs, adapters.status, *form.outputs], **AS_IT_IS)


def header(service: Service, demo: gr.Blocks) -> None:
    """The name, the model, and whether it is ready; the page looks again until it is. And who is signed in."""
    with gr.Row(elem_classes="masthead"):
        html(f"{LOGO.read_text(encoding='utf-8')}<h1>{TITLE}</h1>", elem_classes="name")
        badge = html(readiness(service), elem_classes="badge")
        visitor = html("", elem_classes="visitor")
    again = gr.Timer(1)

    async def look() -> tuple[str, gr.Timer]:
        return readiness(service), gr.Timer(active=service.state != "ready")

    async def who(http: gr.Request) -> str:
        return "" if service.settings.mode == "open" else signed_in(user_of(http).name)

    gr.on([demo.load, again.tick], look, None, [badge, again], **AT_ONCE)
    demo.load(who, None, [visitor], **AT_ONCE)


def readiness(service: Service) -> str:
    state, name = service.state, service.stock.library.models.first_name
    return f'<p class="{state.replace(" ", "-")}" role="status">{escape(name)} · {state}</p>'


def signed_in(name: str) -> str:
    """The way out is relative, so that it is right behind any proxy."""
    return f'<form method="post" action="logout"><span>{escape(name)}</span><button>Sign out</button></form>'
