"""The base class of all messages between parts of the studio, and the user."""

from __future__ import annotations

from pydantic import (
    BaseModel,
    ConfigDict,
)


class FrozenModel(BaseModel):
    """Immutable. Unknown fields, infinity and NaN are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class User(FrozenModel):
    """The user of a request. Jobs belong to users, and take turns between them; `name` is for display.

    An administrator may download and delete what all users share; with sign-in, also export and purge users.
    """

    id: str
    name: str = ""
    is_administrator: bool = False
