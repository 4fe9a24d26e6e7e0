"""Models under the web UI's names, and which of them somebody has chosen."""

from __future__ import annotations

import re
from typing import Any

from imagegen.errors import UnknownModel, of_field
from imagegen.info import ModelStatus
from imagegen.schema import User
from imagegen.service import Service
from imagegen.stock import Stock
from imagegen.validation import parse_request

FIELD = "sd_model_checkpoint"
# The web UI writes the beginning of a file's checksum after its name.
CHECKSUM = re.compile(r" \[[0-9a-fA-F]{6,64}\]$")


def chosen(service: Service, user: User) -> str:
    """The id of the model that this user's pictures are made with, when a request names none."""
    return service.belongings.chosen_model(user.id) or service.stock.library.models.first


def on_disk(stock: Stock) -> list[ModelStatus]:
    return [status for status in stock.models() if status.state in ("on disk", "in memory")]


def found(stock: Stock, title: Any) -> str:
    """The id of a model on disk, from its title, its name or its id.

    Raises InvalidRequest, UnknownModel, UnusableModel and NotOnDisk.
    """
    with of_field(FIELD):
        reference = parse_request({"prompt": FIELD, "model": title}).model or ""
        reference = CHECKSUM.sub("", reference)
        try:
            return stock.model(reference)[0].id
        except UnknownModel:
            named = [status.model.id for status in on_disk(stock) if status.model.name == reference]
            if len(named) != 1:
                raise
            return named[0]
