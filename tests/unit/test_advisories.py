"""No pinned package has a known vulnerability without a written exception; docs/advisories.toml has both."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
KNOWN: dict[str, list[dict[str, str]]] = tomllib.loads((ROOT / "docs" / "advisories.toml").read_text())


def read_pins() -> dict[str, set[Version]]:
    """Returns the versions of each package in constraints.txt: there may be several, for different systems."""
    pins: dict[str, set[Version]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, equals, version = line.partition(";")[0].partition("==")
        if equals:
            pins.setdefault(canonicalize_name(name.strip()), set()).add(Version(version.strip()))
    return pins


def find_affected(advisories: Iterable[Mapping[str, Any]], pins: Mapping[str, set[Version]]) -> set[str]:
    """Returns the ids of the advisories whose range includes a pinned version."""
    return {
        advisory["id"]
        for advisory in advisories
        for version in pins.get(advisory["package"], ())
        if Version(advisory.get("introduced", "0")) <= version < Version(advisory["fixed"])
    }


def test_no_pinned_version_has_a_known_vulnerability_without_an_exception() -> None:
    affected = find_affected(KNOWN["advisory"], read_pins())
    assert affected == {exception["id"] for exception in KNOWN["exception"]}


def test_each_exception_has_a_reason() -> None:
    assert all(exception["reason"].strip() for exception in KNOWN["exception"])


def test_each_advisory_is_of_a_package_that_is_installed() -> None:
    assert {advisory["package"] for advisory in KNOWN["advisory"]} <= set(read_pins())


@pytest.mark.parametrize(
    ("version", "is_affected"), [("1.2.9", False), ("1.3.0", True), ("1.10.0", True), ("1.10.1", False)]
)
def test_a_version_in_the_range_of_an_advisory_is_found(version: str, is_affected: bool) -> None:
    advisory = {"package": "starlette", "id": "CVE-1", "introduced": "1.3.0", "fixed": "1.10.1"}
    assert find_affected([advisory], {"starlette": {Version(version)}}) == ({"CVE-1"} if is_affected else set())
