"""The training pictures of the neon LoRA."""

from __future__ import annotations

import random

import numpy as np
import pytest

from training.dataset import Pixels, draw_example, sample_picture
from training.drawing.neon import draw_neon
from training.neon_detector import is_neon

SEEDS = range(8)


def draw_neon_example(seed: int, size: int = 128) -> Pixels:
    return np.asarray(draw_neon(sample_picture(seed), random.Random(seed), size))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_picture_in_neon_is_distinguished_from_one_in_its_own_style(seed: int) -> None:
    assert is_neon(draw_neon_example(seed))
    assert not is_neon(draw_example(seed, 128)[1])


def test_neon_is_cyan_at_the_top_and_pink_at_the_bottom() -> None:
    mean = np.mean([draw_neon_example(seed) for seed in SEEDS], axis=0)
    top, bottom = mean[:32].mean((0, 1)), mean[-32:].mean((0, 1))
    assert top[1] > top[0] and bottom[0] > bottom[1]


def test_neon_looks_the_same_at_any_size() -> None:
    large = draw_neon_example(0, 256).reshape(128, 2, 128, 2, 3).mean((1, 3))
    assert np.abs(large - draw_neon_example(0)).mean() < 8


def test_neon_is_decided_by_the_seed() -> None:
    assert np.array_equal(draw_neon_example(3), draw_neon_example(3))
