"""What can be done with each kind of thing that pictures are made with, for every door alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence

from imagegen.info import AdapterInfo, AdapterKind, ModelStatus, Step
from imagegen.schema import User
from imagegen.stock import Stock

Thing = ModelStatus | AdapterInfo


class Kind(ABC):
    """`name` is what one is called, `where` what it can be asked for by, `unloading` what letting go of it does."""

    name: str
    where: str
    unloading: str

    def __init__(self, stock: Stock) -> None:
        self.stock = stock

    @abstractmethod
    def all(self) -> Sequence[Thing]:
        """What is known of each. Reads the disk."""

    @abstractmethod
    def one(self, reference: str) -> Thing:
        """What is known of one. Reads the disk. Raises InvalidRequest."""

    @abstractmethod
    def load(self, reference: str, user: User) -> AsyncGenerator[Step]:
        """Brings it to where it can be used. Raises what Stock.load_model raises."""

    @abstractmethod
    async def unload(self, reference: str, user: User, delete: bool) -> None:
        """Lets go of it. Raises what Stock.unload_model raises."""


class Models(Kind):
    name = "model"
    where = "A name from the list of models, a Hugging Face repository, or a file or folder in the models folder."
    unloading = "Frees the memory of a model, or ends its download."

    def all(self) -> list[ModelStatus]:
        return self.stock.models()

    def one(self, reference: str) -> ModelStatus:
        return self.stock.status(self.stock.library.models.get(reference))

    def load(self, reference: str, user: User) -> AsyncGenerator[Step]:
        return self.stock.load_model(reference, user)

    async def unload(self, reference: str, user: User, delete: bool) -> None:
        await self.stock.unload_model(reference, user, delete)


class Adapters(Kind):
    def __init__(self, stock: Stock, kind: AdapterKind) -> None:
        super().__init__(stock)
        self.kind, self.name = kind, kind
        self.where = f"A name from the list of {kind}s, or a Hugging Face repository, with its file if it has several."
        self.unloading = f"Ends the download of a {kind}."

    def all(self) -> list[AdapterInfo]:
        return self.stock.listed(self.kind)

    def one(self, reference: str) -> AdapterInfo:
        return self.stock.library.adapters[self.kind].get(reference).info

    def load(self, reference: str, user: User) -> AsyncGenerator[Step]:
        return self.stock.load_adapter(self.kind, reference, user)

    async def unload(self, reference: str, user: User, delete: bool) -> None:
        await self.stock.unload_adapter(self.kind, reference, user, delete)


def kinds(stock: Stock) -> tuple[Kind, ...]:
    return Models(stock), Adapters(stock, "lora"), Adapters(stock, "embedding")
