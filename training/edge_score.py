"""How well the edges of a picture agree with those that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch.nn import functional as F

from training.edge_maps import Edges

# Pixels by which an edge may lie beside the one that was asked for.
TOLERANCE = 2


@dataclass(frozen=True)
class Agreement:
    """`precision`: the share of edge pixels near one that was asked for. `recall`: the share of those asked for that
    have one nearby. `f1`: their harmonic mean. All in 0..1.
    """

    precision: float
    recall: float
    f1: float


def compare_edges(wanted: Edges, found: Edges) -> Agreement:
    precision = share_near(found, wanted)
    recall = share_near(wanted, found)
    return Agreement(precision, recall, 2 * precision * recall / max(precision + recall, 1e-9))


def share_near(edges: Edges, others: Edges) -> float:
    """Returns the share of `edges` that are at most TOLERANCE pixels from one of `others`; 1 if there are none."""
    near = F.max_pool2d(torch.from_numpy(others)[None].float(), 2 * TOLERANCE + 1, 1, TOLERANCE)[0].bool().numpy()
    return float(near[edges].mean()) if edges.any() else 1.0


def average(agreements: Sequence[Agreement]) -> Agreement:
    return Agreement(
        fmean(each.precision for each in agreements),
        fmean(each.recall for each in agreements),
        fmean(each.f1 for each in agreements),
    )
