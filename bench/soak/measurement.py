"""What a check of the scorecard measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["pass", "FAIL", "not measured"]


@dataclass(frozen=True)
class Measurement:
    """One figure of a row. `passed` is None if it could not be measured here; `measured` then says why."""

    row: str
    what: str
    measured: str
    limit: str
    passed: bool | None

    @property
    def verdict(self) -> Verdict:
        if self.passed is None:
            return "not measured"
        return "pass" if self.passed else "FAIL"


def at_most(row: str, what: str, value: float, limit: float, unit: str) -> Measurement:
    """Returns a figure that passes if it is not greater than its limit."""
    measured, most = (f"{format_figure(number)} {unit}".strip() for number in (value, limit))
    return Measurement(row, what, measured, f"≤ {most}", value <= limit)


def exactly(row: str, what: str, value: object, expected: object) -> Measurement:
    return Measurement(row, what, str(value), str(expected), value == expected)


def format_figure(value: float) -> str:
    """Formats a number to three digits, and whole numbers in full."""
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def percentile(values: Sequence[float], percent: float) -> float:
    """Returns the smallest value that is not exceeded by this percentage of all values."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]


def scaled(count: int, scale: float, least: int = 1) -> int:
    """Returns how many of `count` there are at a scale between 0 and 1."""
    return max(round(count * scale), least)
