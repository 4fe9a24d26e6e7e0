"""The sizes of pictures that are made larger."""

from __future__ import annotations

import pytest

from imagegen.schema.sizes import Size, cover_size, scale_hires_size, scale_size


@pytest.mark.parametrize(("factor", "expected"), [(2, (40, 20)), (1.5, (30, 15)), (0.01, (1, 1))])
def test_a_size_is_scaled_by_a_factor(factor: float, expected: Size) -> None:
    assert scale_size((20, 10), factor) == expected


@pytest.mark.parametrize(("target", "expected"), [((90, 90), (180, 90)), ((200, 10), (200, 100))])
def test_a_size_covers_another_in_its_own_proportions(target: Size, expected: Size) -> None:
    assert cover_size((20, 10), target) == expected


@pytest.mark.parametrize(("factor", "expected"), [(2, (1024, 1536)), (1.3, (672, 992)), (1.03, (528, 784))])
def test_the_sides_of_a_second_pass_are_multiples_of_16(factor: float, expected: Size) -> None:
    assert scale_hires_size((512, 768), factor) == expected
