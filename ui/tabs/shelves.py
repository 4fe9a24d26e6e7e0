"""Tabs for what can be generated with: a list, a card for the one that is looked at, and a way to bring more."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import gradio as gr

from imagegen.info import Step
from imagegen.library.references import address
from imagegen.schema import User
from imagegen.service import Service
from ui import stage
from ui.forms import Updates
from ui.stack import AS_IT_IS
from ui.tabs.generation import html
from ui.visitors import user_of
from ui.wording import message_of, told


@dataclass(frozen=True)
class Card:
    """What is shown of one thing, and what can be done with it; `bring` is the word on the button for that."""

    html: str
    bring: str | None
    unload: bool
    delete: bool
    use: bool


class Shelves(ABC):
    """What models and adapters have in common. Subclasses say what there is, and what is done with it."""

    title: str
    tab_id: str
    field: str
    new_label: str
    new_hint: str

    def __init__(self, service: Service) -> None:
        self.service = service
        with gr.Tab(self.title, id=self.tab_id) as self.tab, gr.Row(elem_classes="workbench shelves"):
            with gr.Column(elem_classes="controls"):
                self.new = gr.Textbox(
                    label=self.new_label, placeholder="owner/name", info=self.new_hint, elem_classes="reference"
                )
                with gr.Row(elem_classes="run"):
                    self.bring = gr.Button("Load", variant="primary", elem_classes="generate")
                    self.stop = gr.Button("Stop", variant="stop", elem_classes="stop")
                self.status = html(stage.idle(), elem_classes="status")
            with gr.Column(elem_classes="canvas"):
                self.list = gr.Radio(choices=[], show_label=False, container=False, elem_classes="list")
            with gr.Column(elem_classes="side"):
                self.details = html("", elem_classes="details")
                with gr.Row(elem_classes="actions"):
                    self.use = gr.Button("Use it", size="sm", variant="primary", visible=False)
                    self.load = gr.Button("Load", size="sm", visible=False)
                    self.unload = gr.Button("Unload from memory", size="sm", visible=False)
                    self.delete = gr.Button("Delete from disk", size="sm", visible=False)
        self._connect()

    @abstractmethod
    def choices(self) -> list[tuple[str, str]]:
        """Label and id of all that there is. Reads the disk."""

    @abstractmethod
    def card(self, reference: str) -> Card:
        """Of one of them. Reads the disk. Raises InvalidRequest."""

    @abstractmethod
    def loading(self, reference: str, user: User) -> AsyncGenerator[Step]:
        """Brings it to where it can be used."""

    @abstractmethod
    async def unloading(self, reference: str, user: User, delete: bool) -> None:
        """Sends it away."""

    @property
    def outputs(self) -> list[Any]:
        return [self.status, self.list, self.details, self.use, self.load, self.unload, self.delete]

    def _connect(self) -> None:
        watched: dict[str, Any] = {**AS_IT_IS, "queue": True, "trigger_mode": "once"}
        gr.on([self.bring.click, self.new.submit], self._bring, [self.new], self.outputs, **watched)
        self.load.click(self._bring, [self.list], self.outputs, **watched)
        self.stop.click(self._stop, [self.new, self.list], self.outputs, **AS_IT_IS)
        self.list.input(self._look, [self.list], self.outputs, **AS_IT_IS)
        self.unload.click(self._unload, [self.list], self.outputs, **AS_IT_IS)
        self.delete.click(self._delete, [self.list], self.outputs, **AS_IT_IS)
        self.tab.select(self._look, [self.list], self.outputs, **AS_IT_IS)

    async def _bring(self, reference: str | None, http: gr.Request) -> AsyncGenerator[Updates]:
        reference = (reference or "").strip()
        if not reference:
            yield {self.status: stage.told("failed", f"{self.field}: is required")}
            return
        last = ""
        try:
            async with aclosing(self.loading(reference, user_of(http))) as steps:
                async for step in steps:
                    last = step.id
                    yield {self.status: bringing(step)}
        except Exception as error:
            yield {self.status: stage.told("failed", message_of(error))}
        else:
            yield {**await self._looked(last), self.status: stage.told("done", "Ready to use")}

    async def _stop(self, new: str, chosen: str | None) -> Updates:
        """Ends whichever download was asked for here; who follows it tells so."""
        stock = self.service.stock
        for reference in (new, chosen or ""):
            await stock.library.downloads.stop(stock.library.models.canonical(address(reference)))
        return {self.status: gr.skip()}

    async def _unload(self, reference: str | None, http: gr.Request) -> Updates:
        return await self._send_away(reference, http, delete=False)

    async def _delete(self, reference: str | None, http: gr.Request) -> Updates:
        return await self._send_away(reference, http, delete=True)

    async def _send_away(self, reference: str | None, http: gr.Request, delete: bool) -> Updates:
        if reference is None:
            return {self.status: gr.skip()}
        try:
            await self.unloading(reference, user_of(http), delete)
        except Exception as error:
            return {self.status: stage.told("failed", message_of(error))}
        said = "Deleted" if delete else "Unloaded"
        return {**await self._looked(None if delete else reference), self.status: stage.told("done", said)}

    async def _look(self, reference: str | None) -> Updates:
        return await self._looked(reference)

    async def _looked(self, reference: str | None) -> Updates:
        choices = await asyncio.to_thread(self.choices)
        if reference not in {value for _, value in choices}:
            reference = choices[0][1] if choices else None
        nothing = Card(stage.nothing_here(), bring=None, unload=False, delete=False, use=False)
        card = await asyncio.to_thread(self.card, reference) if reference else nothing
        return {
            self.list: gr.Radio(choices=choices, value=reference),
            self.details: card.html,
            self.use: gr.Button(visible=card.use),
            self.load: gr.Button(card.bring or "", visible=card.bring is not None),
            self.unload: gr.Button(visible=card.unload),
            self.delete: gr.Button(visible=card.delete),
        }


def bringing(step: Step) -> str:
    share = step.received / step.size if step.received is not None and step.size else None
    return stage.bar(share, told(step)) + stage.line("running", f"<span>{told(step)}</span>")
