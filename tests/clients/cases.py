"""The requests of the table of wrong values, and what an API did with one, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imagegen.schema.field_types import MAX_SEED

Fields = dict[str, Any]
PROMPT = "a red circle"


@dataclass(frozen=True)
class Case:
    """One request: the prompt, and `fields` in the studio's own names."""

    name: str
    fields: Fields


CASES = (
    Case("an unknown sampler", {"sampler": "Best"}),
    Case("an unknown field", {"colour": "red"}),
    Case("an unknown model", {"model": "no-such-model"}),
    Case("no seed", {}),
    Case("the seed -1", {"seed": -1}),
    Case("the seed -2", {"seed": -2}),
    Case("the seed 2^64", {"seed": 2**64}),
    Case("the size 100x100", {"width": 100, "height": 100}),
    Case("the size 4096x4096", {"width": 4096, "height": 4096}),
    Case("the size 0x0", {"width": 0, "height": 0}),
)
MODEL_OF_OPENAI = "gpt-image-1"


@dataclass(frozen=True)
class Refused:
    """An error. `status` is None where the API has none; `field` is the one that the error names."""

    code: str
    field: str | None
    status: int | None = None

    def describe(self, case: Case) -> str:
        code = f"`{self.code}`" if self.status is None else f"{self.status} `{self.code}`"
        return f"{code}, no field named" if self.field is None else f"{code}: `{self.field}`"


@dataclass(frozen=True)
class Accepted:
    """A picture. `ignored` and `requested_size` are what the answer says about it."""

    seed: int
    size: tuple[int, int]
    ignored: tuple[str, ...] = ()
    requested_size: str | None = None

    def describe(self, case: Case) -> str:
        if self.ignored:
            return f"ignored; `ignored` in the answer names `{', '.join(self.ignored)}`"
        wanted = (case.fields.get("width", self.size[0]), case.fields.get("height", self.size[1]))
        if wanted != self.size:
            is_told = self.requested_size == f"{wanted[0]}x{wanted[1]}"
            return f"{self.size[0]}x{self.size[1]}, {'and `requested` in the answer' if is_told else 'silently'}"
        if case.fields.get("seed", -1) == -1 and 0 <= self.seed <= MAX_SEED:
            return "a random seed, in the answer"
        return "accepted, unchanged"


Outcome = Refused | Accepted


def find_field(message: str) -> str | None:
    """Returns the field that a message of the studio begins with."""
    name, colon, _ = message.partition(": ")
    return name if colon and " " not in name else None


def read_receipt(receipt: Fields, ignored: tuple[str, ...] = (), requested_size: str | None = None) -> Accepted:
    return Accepted(receipt["seed"], (receipt["width"], receipt["height"]), ignored, requested_size)
