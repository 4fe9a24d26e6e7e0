"""Copies networks that take some of their parts from another network."""

from __future__ import annotations

import copy
from typing import Any


def copy_module(module: Any) -> Any:
    """Returns a module with the same weights, whose parts can be replaced without changing those of the first."""
    copied = copy.copy(module)
    for name in ("_modules", "_parameters"):
        copied.__dict__[name] = dict(module.__dict__[name])
    return copied
