"""The tab of LoRAs and textual inversions."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from imagegen.errors import InvalidRequest
from imagegen.info import AdapterInfo, AdapterKind, Step
from imagegen.schema import User
from ui import cards
from ui.tabs.shelves import Card, Shelves


class AdapterShelves(Shelves):
    """Embeddings lie below the LoRAs; what is brought is taken for a LoRA unless it is none."""

    title = "LoRAs"
    tab_id = "loras"
    field = "lora"
    new_label = "Bring a LoRA or an embedding"
    new_hint = "A Hugging Face repository, with /file.safetensors where it holds several."

    def choices(self) -> list[tuple[str, str]]:
        return [(label(adapter), adapter.id) for adapter in self._all()]

    def card(self, reference: str) -> Card:
        info = self.service.stock.library.adapters[self.kind(reference)].get(reference).info
        return Card(html=cards.adapter(info), bring=None, unload=False, delete=info.deletable, use=True)

    async def loading(self, reference: str, user: User) -> AsyncGenerator[Step]:
        """An embedding is told from a LoRA by what is in the file, once it is here."""
        try:
            async for step in self.service.stock.load_adapter("lora", reference, user):
                yield step
        except InvalidRequest:
            if self.kind(reference) != "embedding":
                raise
            async for step in self.service.stock.load_adapter("embedding", reference, user):
                yield step

    async def unloading(self, reference: str, user: User, delete: bool) -> None:
        await self.service.stock.unload_adapter(self.kind(reference), reference, user, delete)

    def kind(self, reference: str) -> AdapterKind:
        """Told by what is in the file."""
        try:
            self.service.stock.library.adapters["embedding"].get(reference)
        except InvalidRequest:
            return "lora"
        return "embedding"

    def _all(self) -> list[AdapterInfo]:
        stock = self.service.stock
        return [*stock.listed("lora"), *stock.listed("embedding")]


def label(adapter: AdapterInfo) -> str:
    return " · ".join([adapter.name, *(["embedding"] if adapter.kind == "embedding" else []), adapter.architecture])
