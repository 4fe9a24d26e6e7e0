"""The tab of models."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from imagegen.info import ModelStatus, Step
from imagegen.schema import User
from ui import cards
from ui.tabs.shelves import Card, Shelves

STATES = {"absent": "not downloaded", "downloading": "downloading", "on disk": "on disk", "in memory": "in memory"}


class ModelShelves(Shelves):
    title = "Models"
    tab_id = "models"
    field = "model"
    new_label = "Bring a model"
    new_hint = "A Hugging Face repository in diffusers format, or with /file.safetensors one checkpoint in it."

    def choices(self) -> list[tuple[str, str]]:
        return [(label(status), status.model.id) for status in self.service.stock.models()]

    def card(self, reference: str) -> Card:
        stock = self.service.stock
        status = stock.status(stock.library.models.get(reference))
        bring = {"absent": "Download", "downloading": None, "on disk": "Load into memory", "in memory": None}
        return Card(
            html=cards.model(status),
            bring=bring[status.state],
            unload=status.state == "in memory",
            delete=status.deletable,
            use=status.state in ("on disk", "in memory"),
        )

    def loading(self, reference: str, user: User) -> AsyncGenerator[Step]:
        return self.service.stock.load_model(reference, user)

    async def unloading(self, reference: str, user: User, delete: bool) -> None:
        await self.service.stock.unload_model(reference, user, delete)


def label(status: ModelStatus) -> str:
    size = status.model.memory_gb if status.state in ("on disk", "in memory") else status.model.download_gb
    return " · ".join([status.model.name, STATES[status.state], *([f"{size:g} GB"] if size else [])])
