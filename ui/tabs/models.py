"""The tab of models."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from imagegen.info import ModelStatus, Step
from imagegen.schema import User
from ui import cards
from ui.tabs.shelves import Shelves

STATES = {"absent": "not downloaded", "downloading": "downloading", "on disk": "on disk", "in memory": "in memory"}


class ModelShelves(Shelves):
    title = "Models"
    tab_id = "models"
    field = "model"
    new_label = "Model"
    new_hint = "A Hugging Face repository in diffusers format, or with /file.safetensors one checkpoint in it."

    def choices(self) -> list[tuple[str, str]]:
        return [(label(status), status.model.id) for status in self.service.stock.models()]

    def described(self, reference: str) -> str:
        model = self.service.stock.library.models.get(reference)
        return cards.model(self.service.stock.status(model.info, model.source is not None))

    def loading(self, reference: str, user: User) -> AsyncGenerator[Step]:
        return self.service.stock.load_model(reference, user)

    async def unloading(self, reference: str, user: User, delete: bool) -> None:
        await self.service.stock.unload_model(reference, user, delete)


def label(status: ModelStatus) -> str:
    size = status.model.memory_gb if status.state in ("on disk", "in memory") else status.model.download_gb
    return " · ".join([status.model.name, STATES[status.state], *([f"{size:g} GB"] if size else [])])
