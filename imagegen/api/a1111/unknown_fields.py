"""Fields that neither the studio nor the web UI knows. As in the web UI, they are ignored; the answer names them."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from imagegen.text import truncate

logger = logging.getLogger(__name__)

MAX_NAMES = 50
MAX_NAME_CHARS = 60


class OpenModel(BaseModel):
    """A request body with any further fields."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())


def list_unknown_fields(body: OpenModel) -> tuple[str, ...]:
    """Returns the names of fields that a body has beyond those of its class, with those of its objects.

    There are at most MAX_NAMES, each of at most MAX_NAME_CHARS: a client may send anything.
    """
    nested = {name: value.model_extra or {} for name, value in body if isinstance(value, OpenModel)}
    names = [*(body.model_extra or {}), *(f"{outer}.{name}" for outer, extra in nested.items() for name in extra)]
    return tuple(truncate(name, MAX_NAME_CHARS) for name in names[:MAX_NAMES])


def log_ignored_fields(route: str, fields: Iterable[str]) -> None:
    """Logs the names of the ignored fields of a request, if there are any."""
    if names := list(fields):
        log_fields = {"action": "fields_ignored", "route": route, "fields": names}
        logger.info("Fields of a request are ignored", extra=log_fields)
