"""What LoRA files add to a weight, in the forms in which tools write it.

A weight is flattened to two dimensions: (outputs, inputs times the size of the kernel).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

# The rows of a weight: a part of them, or an order of all.
Rows = slice | Tensor


class Delta(Protocol):
    """What is added to a weight."""

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def nbytes(self) -> int: ...

    def compute(self, weight: Tensor) -> Tensor:
        """Returns what is added to a weight of `shape` in float32, on the weight's device."""

    def select_rows(self, rows: Rows) -> Delta:
        """Returns what is added to some rows of a weight, of which the model has made a layer of its own.

        Raises ValueError if these rows alone do not determine it.
        """


@dataclass(frozen=True)
class LowRankDelta:
    """LoRA: scale * up @ down. `down` is of shape (rank, inputs, ...), `up` of shape (outputs, rank, ...)."""

    down: Tensor
    up: Tensor
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.up.shape[0], self.down[0].numel()

    @property
    def nbytes(self) -> int:
        return self.down.nbytes + self.up.nbytes

    def compute(self, weight: Tensor) -> Tensor:
        up, down = (half.to(weight.device, torch.float32).flatten(1) for half in (self.up, self.down))
        return self.scale * (up @ down)

    def select_rows(self, rows: Rows) -> LowRankDelta:
        return LowRankDelta(self.down, self.up[rows], self.scale)


@dataclass(frozen=True)
class TuckerFactors:
    """The matrix of `first` and `second`, or with `core` their Tucker decomposition.

    Without a core `first` is of shape (outputs, rank) and `second` of shape (rank, inputs, ...). With a core of shape
    (rank, rank, height, width) they are of shape (rank, outputs) and (rank, inputs).
    """

    first: Tensor
    second: Tensor
    core: Tensor | None = None

    @property
    def nbytes(self) -> int:
        return self.first.nbytes + self.second.nbytes + (self.core.nbytes if self.core is not None else 0)

    @property
    def shape(self) -> tuple[int, int]:
        if self.core is None:
            return self.first.shape[0], self.second[0].numel()
        return self.first.shape[1], self.second.shape[1] * self.core[0, 0].numel()

    def multiply(self, device: torch.device) -> Tensor:
        """Returns the matrix in float32."""
        first, second = (each.to(device, torch.float32) for each in (self.first, self.second))
        if self.core is None:
            return first.flatten(1) @ second.flatten(1)
        core = self.core.to(device, torch.float32)
        return torch.einsum("ij...,ip,jr->pr...", core, first, second).flatten(1)


@dataclass(frozen=True)
class HadamardDelta:
    """LoHa: scale times the elements of two matrices, multiplied (https://arxiv.org/abs/2108.06098)."""

    first: TuckerFactors
    second: TuckerFactors
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.first.shape

    @property
    def nbytes(self) -> int:
        return self.first.nbytes + self.second.nbytes

    def compute(self, weight: Tensor) -> Tensor:
        return self.scale * self.first.multiply(weight.device) * self.second.multiply(weight.device)

    def select_rows(self, rows: Rows) -> Delta:
        return SelectedRows(self, rows)


@dataclass(frozen=True)
class KroneckerDelta:
    """LoKr: scale times the Kronecker product of two matrices, each whole or as factors.

    LyCORIS, https://arxiv.org/abs/2309.14859.
    """

    first: Tensor | TuckerFactors
    second: Tensor | TuckerFactors
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        (rows, columns), (more_rows, more_columns) = (get_matrix_shape(each) for each in (self.first, self.second))
        return rows * more_rows, columns * more_columns

    @property
    def nbytes(self) -> int:
        return self.first.nbytes + self.second.nbytes

    def compute(self, weight: Tensor) -> Tensor:
        first, second = (multiply_out(each, weight.device) for each in (self.first, self.second))
        return self.scale * torch.kron(first, second)

    def select_rows(self, rows: Rows) -> Delta:
        return SelectedRows(self, rows)


def get_matrix_shape(matrix: Tensor | TuckerFactors) -> tuple[int, int]:
    return matrix.shape if isinstance(matrix, TuckerFactors) else (matrix.shape[0], matrix[0].numel())


def multiply_out(matrix: Tensor | TuckerFactors, device: torch.device) -> Tensor:
    if isinstance(matrix, TuckerFactors):
        return matrix.multiply(device)
    return matrix.to(device, torch.float32).flatten(1)


@dataclass(frozen=True)
class FullDelta:
    """A difference of the shape of the weight itself. One of a vector has one column."""

    difference: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.difference.shape[0], self.difference[0].numel()

    @property
    def nbytes(self) -> int:
        return self.difference.nbytes

    def compute(self, weight: Tensor) -> Tensor:
        return self.difference.to(weight.device, torch.float32).reshape(self.shape)

    def select_rows(self, rows: Rows) -> FullDelta:
        return FullDelta(self.difference[rows])


@dataclass(frozen=True)
class DecomposedDelta:
    """DoRA: the weight with `direction` added to it gets the norms `magnitude` (https://arxiv.org/abs/2402.09353).

    `magnitude` is of one norm per output, or per input with `per_input`. What is added is the difference to the weight
    without any LoRA.
    """

    direction: Delta
    magnitude: Tensor
    per_input: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        return self.direction.shape

    @property
    def nbytes(self) -> int:
        return self.direction.nbytes + self.magnitude.nbytes

    def compute(self, weight: Tensor) -> Tensor:
        original = weight.float().reshape(self.shape)
        changed = original + self.direction.compute(weight)
        inputs = len(self.magnitude) if self.per_input else self.shape[1]
        by_input = changed.reshape(self.shape[0], inputs, -1)
        norms: Tensor = torch.linalg.vector_norm(by_input, dim=(0, 2) if self.per_input else (1, 2), keepdim=True)
        magnitude = self.magnitude.to(weight.device, torch.float32).reshape(norms.shape)
        return (by_input * (magnitude / norms)).reshape(self.shape) - original

    def select_rows(self, rows: Rows) -> DecomposedDelta:
        if self.per_input:
            raise ValueError("norms of inputs are those of all rows")
        return DecomposedDelta(self.direction.select_rows(rows), self.magnitude[rows])


@dataclass(frozen=True)
class SelectedRows:
    """Some rows of a delta that does not depend on the weight."""

    whole: Delta
    rows: Rows

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.whole.shape
        return len(torch.arange(rows)[self.rows]), columns

    @property
    def nbytes(self) -> int:
        return self.whole.nbytes

    def compute(self, weight: Tensor) -> Tensor:
        selected: Tensor = self.whole.compute(weight)[self.rows]
        return selected

    def select_rows(self, rows: Rows) -> SelectedRows:
        return SelectedRows(self.whole, torch.arange(self.whole.shape[0])[self.rows][rows])
