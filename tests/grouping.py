"""Which tests run one after another in the same process, and which of them are fast.

A studio takes 12 seconds of processor time to start, a model a few to load. Tests that share one form a group. With
`--dist loadgroup` pytest-xdist runs a group in one process, so that each studio starts once in a run. The longest
groups start first, so that no process is idle at the end.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePath

import pytest

# Fixtures that are expensive and shared, in the order in which their groups start. A test that uses several belongs to
# the group of the first.
SHARED_FIXTURES = (
    "studio", "hub_studio", "harness", "guarded", "engine", "generate", "keys_studio", "caching_studio",
    "allowlist_studio", "space", "proxied",
)  # fmt: skip
# Fixtures that are made from a shared one, or use the same models.
GROUP_BY_FIXTURE = {name: name for name in SHARED_FIXTURES} | {"generate": "engine"}
# Groups that take minutes. Tests that start studios of their own come after them, and shorter groups at the end.
LONGEST_GROUPS = ("studio", "hub_studio")
TRAINING_AND_BENCH = "training and bench"
TRAINING_AND_BENCH_FILES = (
    "test_training.py", "test_bench_report.py", "test_drawing.py", "test_neon_style.py", "test_edge_maps.py",
)  # fmt: skip
# Tests in these folders need a browser or a model that generates.
SLOW_FOLDERS = ("integration", "acceptance")


def find_group(path: PurePath, fixtures: Collection[str]) -> str:
    """The group of a test, by its file and the fixtures that it uses directly or through others."""
    if path.parent.name == "unit":
        fixtures = ()  # A fixture of the same name is another one there.
    for name, group in GROUP_BY_FIXTURE.items():
        if name in fixtures:
            return group
    if path.name in TRAINING_AND_BENCH_FILES:
        return TRAINING_AND_BENCH
    return f"{path.parent.name}/{path.name}"


def get_position(path: PurePath, group: str) -> tuple[int, int]:
    """Sorts groups: training, unit tests, files of real inference, the longest groups, acceptance, shorter groups.

    A browser leaves an event loop in its process, in which no asynchronous test can run. All such tests come before.
    """
    order = list(GROUP_BY_FIXTURE.values())
    if group in order:
        return (1 if group in LONGEST_GROUPS else 3, order.index(group))
    if group == TRAINING_AND_BENCH:
        return (0, -1)
    return (2, 0) if path.parent.name == "acceptance" else (0, int(path.parent.name in SLOW_FOLDERS))


def is_fast(path: PurePath) -> bool:
    """Whether the tests of a file need neither a browser nor a model that generates."""
    return path.parent.name not in SLOW_FOLDERS


def group_tests(items: list[pytest.Item]) -> None:
    """Marks and sorts the collected tests, in place."""
    positions: dict[pytest.Item, tuple[int, int]] = {}
    for item in items:
        group = find_group(item.path, getattr(item, "fixturenames", ()))
        positions[item] = get_position(item.path, group)
        item.add_marker(pytest.mark.xdist_group(group))
        if is_fast(item.path):
            item.add_marker(pytest.mark.fast)
    items.sort(key=positions.__getitem__)


def add_groups_to_ids(items: list[pytest.Item]) -> None:
    """Appends its group to the id of each test: by that pytest-xdist knows it.

    pytest-xdist 3.8 does so itself, but without effect since pytest 9.2: pytest-dev/pytest-xdist#1386.
    """
    for item in items:
        if (mark := item.get_closest_marker("xdist_group")) is not None:
            item._id = item.id.parse(f"{item.nodeid}@{mark.args[0]}")
