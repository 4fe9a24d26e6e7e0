"""Groups tests by the studio or the models that they share."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from tests.grouping import SLOW_FOLDERS, add_groups_to_ids, group_tests


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    """Before pytest selects by marker. In processes of pytest-xdist that share tests by group, ids have the groups."""
    group_tests(items)
    if getattr(config.option, "loadgroup", False):
        add_groups_to_ids(items)


def pytest_collection_finish() -> None:
    """What is imported stays: without this, each full garbage collection would take most of a second."""
    gc.freeze()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m fast`, folders of slow tests are not even imported: that alone would take ten seconds."""
    return True if collection_path.name in SLOW_FOLDERS and config.option.markexpr == "fast" else None
