"""Calls of one network that can be answered by one: their arguments joined along the batch, its output cut apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

# How a scheduler says where it is: one number for all rows, of whatever type. Networks also take one for each row.
TIMES = ("timestep", "t")
# Lists with one entry for each row.
LISTS = ("x", "cap_feats", "img_shapes", "generator")
# Where things are in a picture or a text: the same for every row, where it has no rows of its own.
PLACES = ("img_ids", "txt_ids")
PLAIN = (bool, int, float, str, torch.dtype, torch.device, type(None))

Arguments = Mapping[str, Any]


class Unjoinable(Exception):
    """Nobody knows how to join an argument with others."""


def rows_of(arguments: Arguments) -> int:
    """How many rows a call has: its first argument is what is denoised or decoded."""
    return len(next(iter(arguments.values())))


def likeness(arguments: Arguments, rows: int) -> tuple[Any, ...]:
    """Calls can be joined when theirs are equal. Raises Unjoinable."""
    return tuple((name, alike(name, arguments[name], rows)) for name in sorted(arguments))


def alike(name: str, value: Any, rows: int) -> Any:
    match value:
        case Tensor() if name in TIMES and value.numel() in (1, rows):
            return value.device
        case Tensor() if name in PLACES and value.ndim == 2:
            return digest(value)
        case Tensor() if value.ndim and len(value) == rows:
            return value.shape[1:], value.dtype, value.device
        case list() if name in LISTS and len(value) == rows:
            return frozenset((each.shape[1:], each.dtype) for each in value if isinstance(each, Tensor))
        case dict():
            return likeness(value, rows)
        case list() | tuple() if name not in LISTS:
            return tuple(alike("", each, rows) for each in value)
        case _ if isinstance(value, PLAIN):
            return type(value), value
    raise Unjoinable(name)


def digest(tensor: Tensor) -> str:
    """Of the numbers in it. A job gives the same tensor at every step: it keeps what was found out at the first."""
    known: str | None = getattr(tensor, "digest", None)
    if known is None:
        known = hashlib.sha256(tensor.float().cpu().numpy().tobytes()).hexdigest()
        tensor.digest = known  # type: ignore[attr-defined]
    return known


def joined(calls: Sequence[Arguments]) -> dict[str, Any]:
    """The arguments of one call for all of them, whose likenesses are equal."""
    rows = [rows_of(call) for call in calls]
    return {name: together(name, [call[name] for call in calls], rows) for name in calls[0]}


def together(name: str, values: Sequence[Any], rows: Sequence[int]) -> Any:
    first = values[0]
    match first:
        case Tensor() if name in TIMES:
            return times(values, rows)
        case Tensor() if name in PLACES and first.ndim == 2:
            return first
        case Tensor():
            return torch.cat(list(values))
        case list() if name in LISTS:
            return [each for value in values for each in value]
        case dict():
            return {key: together(key, [value[key] for value in values], rows) for key in first}
        case list() | tuple():
            return type(first)(together("", list(each), rows) for each in zip(*values, strict=True))
    return first


def times(values: Sequence[Tensor], rows: Sequence[int]) -> Tensor:
    """One for each row, in float32 where they are of different types, as networks take them themselves."""
    one_type = len({value.dtype for value in values}) == 1
    spread = [value.reshape(-1).expand(count) for value, count in zip(values, rows, strict=True)]
    return torch.cat(spread if one_type else [value.float() for value in spread])


def cut(output: Any, rows: Sequence[int]) -> list[Any]:
    """What each call gets of the output: its own rows of every tensor, and of every list with an entry for each row."""
    match output:
        case Tensor():
            return list(output.split(list(rows)))
        case list() if len(output) == sum(rows):
            ends = [sum(rows[: place + 1]) for place in range(len(rows))]
            return [output[end - count : end] for end, count in zip(ends, rows, strict=True)]
        case tuple():
            return [tuple(parts) for parts in zip(*(cut(each, rows) for each in output), strict=True)]
    raise TypeError(f"the output of a network is a {type(output).__name__}")
