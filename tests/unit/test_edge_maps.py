"""The edges that a ControlNet is trained and scored with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.dataset import draw_example
from training.edge_maps import EdgeExamples, Edges, find_outlines, make_scribble, make_training_map
from training.edge_score import compare_edges

SIZE = 128


def draw_line(column: int, rows: slice = slice(None)) -> Edges:
    edges = np.zeros((SIZE, SIZE), bool)
    edges[rows, column] = True
    return edges


@pytest.mark.parametrize(("shift", "f1"), [(0, 1), (2, 1), (4, 0)])
def test_edges_agree_when_they_are_near(shift: int, f1: float) -> None:
    assert compare_edges(draw_line(50), draw_line(50 + shift)).f1 == pytest.approx(f1)


def test_a_missing_half_costs_recall_and_a_line_too_many_precision() -> None:
    half = compare_edges(draw_line(50), draw_line(50, slice(SIZE // 2)))
    assert half.precision == 1
    assert half.recall == pytest.approx(0.5, abs=0.02)
    more = compare_edges(draw_line(50), draw_line(50) | draw_line(90))
    assert (more.precision, more.recall) == (0.5, 1)


def test_nothing_asked_for_and_nothing_drawn_agree() -> None:
    empty = np.zeros((SIZE, SIZE), bool)
    assert compare_edges(empty, empty).f1 == pytest.approx(1)
    assert compare_edges(draw_line(5), empty).f1 == pytest.approx(0)


def test_a_scribble_is_thick_and_near_the_outlines() -> None:
    outlines = find_outlines(draw_example(7, SIZE)[1])
    scribble = make_scribble(outlines, np.random.default_rng(0))
    assert scribble.shape == (3, SIZE, SIZE)
    assert set(scribble.unique().tolist()) == {0, 1}
    painted = scribble[0].numpy() > 0
    assert painted.sum() > 2.5 * outlines.sum()
    assert painted[outlines].mean() > 0.8


def test_maps_for_training_are_white_on_black_and_depend_on_the_seed_alone() -> None:
    outlines = np.stack([find_outlines(draw_example(seed, SIZE)[1]) for seed in range(4)])
    packed = np.packbits(outlines, axis=-1)
    examples = EdgeExamples(torch.empty(4), packed, packed)
    for seed in range(40):
        first, second = (make_training_map(examples, seed % 4, np.random.default_rng(seed)) for _ in range(2))
        assert torch.equal(first, second)
        assert first.shape == (3, SIZE, SIZE)
        assert 0 <= first.min() <= first.median() < 0.5 < first.max() <= 1
