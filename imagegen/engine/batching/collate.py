"""Makes one call of a network out of several: their arguments are joined along the batch, and the output is split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, Union

import torch
from torch import Tensor

PLAIN_TYPES = (bool, int, float, str, torch.dtype, torch.device, type(None))

# The arguments of a call by parameter name, and what it returns. diffusers does not say more about either.
Arguments = Mapping[str, object]
NetworkOutput = Union[Tensor, list["NetworkOutput"], tuple["NetworkOutput", ...]]  # noqa: UP007 It is recursive.


@dataclass(frozen=True)
class BatchRules:
    """Names of a network's arguments that are not tensors with one row per picture.

    `timesteps` hold one number for all rows or one for each, of any type. `lists` hold one entry per row. `positions`
    hold the places of patches or tokens: the same for each row, unless they have a dimension of rows. `repeated` are
    lists of equal entries, of which networks read the first. `additions` are added to what the network computes:
    leaving one out is the same as zeros, and so is one with less in its second dimension, which is filled with them.
    `shared` are tensors, or tuples of them, without a dimension of rows. A call with one of `inseparable` is not joined
    with others: their first dimension is something else than rows, and could have the same size.
    """

    timesteps: tuple[str, ...] = ("timestep",)
    lists: tuple[str, ...] = ()
    positions: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    additions: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    inseparable: tuple[str, ...] = ()

    def is_timestep(self, name: str, value: object) -> bool:
        return isinstance(value, Tensor) and name in self.timesteps

    def is_position(self, name: str, value: object) -> bool:
        return isinstance(value, Tensor) and name in self.positions and value.ndim == 2


T = TypeVar("T")


DEFAULT_RULES = BatchRules()


class CannotCollate(Exception):
    """An argument is of a kind that cannot be joined with others."""


def count_rows(arguments: Arguments) -> int:
    """Returns how many rows a call has: its first argument is what is denoised or decoded."""
    first = next(iter(arguments.values()))
    assert isinstance(first, Tensor | list)
    return len(first)


def batch_key(arguments: Arguments, rows: int, rules: BatchRules) -> Hashable:
    """Returns a key that is equal for calls that can be joined. Raises CannotCollate."""
    names = sorted(arguments.keys() - {*rules.additions})
    inseparable = next((name for name in names if name in rules.inseparable), None)
    if inseparable is not None:
        raise CannotCollate(inseparable)
    keys = {True: get_shared_key, False: get_value_key}
    return tuple((name, keys[name in rules.shared](name, arguments[name], rows, rules)) for name in names)


def get_value_key(name: str, value: object, rows: int, rules: BatchRules) -> Hashable:
    match value:
        case Tensor() if rules.is_timestep(name, value) and value.numel() in (1, rows):
            return value.device
        case Tensor() if rules.is_position(name, value):
            return hash_tensor(value)
        case list() if name in rules.repeated:
            return repr(value[0])
        case Tensor() if value.ndim and len(value) == rows:
            return value.shape[1:], value.dtype, value.device
        case list() if name in rules.lists and len(value) == rows:
            return frozenset((each.shape[1:], each.dtype) for each in value if isinstance(each, Tensor))
        case dict():
            return batch_key(value, rows, rules)
        case list() | tuple() if name not in rules.lists:
            return tuple(get_value_key("", each, rows, rules) for each in value)
        case _ if isinstance(value, PLAIN_TYPES):
            return type(value), value
    raise CannotCollate(name)


def get_shared_key(name: str, value: object, rows: int, rules: BatchRules) -> Hashable:
    values = value if isinstance(value, tuple) else (value,)
    return tuple(hash_shared(name, each, rows) for each in values)


def hash_shared(name: str, value: object, rows: int) -> Hashable:
    """Returns a key of a tensor without a dimension of rows, or of a plain value.

    Raises CannotCollate for a tensor that could have one.
    """
    if isinstance(value, Tensor) and value.ndim and len(value) != rows:
        return value.dtype, hash_tensor(torch.view_as_real(value) if value.is_complex() else value)
    if not isinstance(value, PLAIN_TYPES):
        raise CannotCollate(name)
    return type(value), value


def hash_tensor(tensor: Tensor) -> str:
    """Returns a hash of the numbers. It is kept with the tensor, since a job passes the same tensor at every step."""
    known: str | None = getattr(tensor, "digest", None)
    if known is None:
        known = hashlib.sha256(tensor.float().cpu().numpy().tobytes()).hexdigest()
        tensor.digest = known  # type: ignore[attr-defined]
    return known


def collate(calls: Sequence[Arguments], rules: BatchRules) -> dict[str, object]:
    """Returns the arguments of one call for several whose batch keys are equal."""
    rows = [count_rows(call) for call in calls]
    complete = [fill_additions(call, calls, rules) for call in calls]
    return {name: collate_values(name, [call[name] for call in complete], rows, rules) for name in complete[0]}


def fill_additions(call: Arguments, calls: Sequence[Arguments], rules: BatchRules) -> Arguments:
    """Returns the arguments of a call with each addition of the calls in the same shape, filled up with zeros.

    They are the last, in the order of the rules: compiled code and graphs know arguments by their places.
    """
    rows = count_rows(call)
    examples = {name: [other[name] for other in calls if name in other] for name in rules.additions}
    filled = {name: fill_up(call.get(name), others, rows) for name, others in examples.items() if others}
    return {**{name: value for name, value in call.items() if name not in filled}, **filled}


def fill_up(value: object, examples: Sequence[object], rows: int) -> object:
    """Returns a tensor, or nested tensors, filled up with zeros to the longest of the examples in dimension 1.

    None stands for zeros alone.
    """
    first = examples[0]
    if isinstance(first, Tensor):
        length = max(each.shape[1] for each in select(examples, Tensor))
        if isinstance(value, Tensor) and value.shape[1] == length:
            return value
        zeros = first.new_zeros((rows, length, *first.shape[2:]))
        if isinstance(value, Tensor):
            zeros[:, : value.shape[1]] = value
        return zeros
    if isinstance(first, dict):
        own, others = (value if isinstance(value, dict) else {}), select(examples, dict)
        names = dict.fromkeys(name for each in others for name in each)
        return {name: fill_up(own.get(name), [each[name] for each in others if name in each], rows) for name in names}
    assert isinstance(first, list | tuple)
    members = value if isinstance(value, list | tuple) else [None] * len(first)
    columns = zip(*(each for each in examples if isinstance(each, list | tuple)), strict=True)
    filled = map_distinct(
        lambda column: fill_up(column[0], column[1:], rows),
        [(own, *column) for own, column in zip(members, columns, strict=True)],
    )
    return type(first)(filled)


def map_distinct(
    function: Callable[[Sequence[object]], object], columns: Sequence[Sequence[object]]
) -> Iterator[object]:
    """Yields the value of a function for each column. Columns of the same objects have the same value.

    What ControlNets of transformers add is often the same for several layers: it is joined once.
    """
    values: dict[tuple[int, ...], object] = {}
    for column in columns:
        key = tuple(map(id, column))
        if key not in values:
            values[key] = function(column)
        yield values[key]


def collate_values(name: str, values: Sequence[object], rows: Sequence[int], rules: BatchRules) -> object:
    first = values[0]
    if name in rules.shared:
        return first
    match first:
        case Tensor() if rules.is_timestep(name, first):
            return collate_timesteps(select(values, Tensor), rows)
        case Tensor() if rules.is_position(name, first):
            return first
        case list() if name in rules.repeated:
            return first[:1]
        case Tensor():
            return torch.cat(select(values, Tensor))
        case list() if name in rules.lists:
            return [each for value in select(values, list) for each in value]
        case dict():
            same = select(values, dict)
            return {key: collate_values(key, [value[key] for value in same], rows, rules) for key in first}
        case list() | tuple():
            columns = list(zip(*(value for value in values if isinstance(value, list | tuple)), strict=True))
            return type(first)(map_distinct(lambda column: collate_values("", column, rows, rules), columns))
    return first


def select(values: Sequence[object], kind: type[T]) -> list[T]:
    """Returns the values of one type; equal batch keys say that all are of it."""
    return [value for value in values if isinstance(value, kind)]


def collate_timesteps(values: Sequence[Tensor], rows: Sequence[int]) -> Tensor:
    """Returns one timestep per row, in float32 where types differ, which is what networks convert them to."""
    is_one_type = len({value.dtype for value in values}) == 1
    expanded = [value.reshape(-1).expand(count) for value, count in zip(values, rows, strict=True)]
    return torch.cat(expanded if is_one_type else [value.float() for value in expanded])


def split(output: NetworkOutput, rows: Sequence[int]) -> list[NetworkOutput]:
    """Returns the output of each call: its own rows of every tensor, and of every list with one entry per row."""
    match output:
        case Tensor():
            return list(output.split(list(rows)))
        case list() if len(output) == sum(rows):
            ends = [sum(rows[: place + 1]) for place in range(len(rows))]
            return [output[end - count : end] for end, count in zip(ends, rows, strict=True)]
        case tuple():
            return [tuple(parts) for parts in zip(*(split(each, rows) for each in output), strict=True)]
    raise TypeError(f"the output of a network is a {type(output).__name__}")
