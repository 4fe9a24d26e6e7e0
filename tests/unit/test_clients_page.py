"""docs/clients.md lists the clients that the tests run, and what the APIs do with wrong values."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.cases import CASES, Accepted, Case, Refused, find_field
from tests.clients.http_doors import HTTP_DOORS
from tests.clients.outcomes import ask_http_doors, load_outcomes, select_apis
from tests.clients.page import PAGE, build_page
from tests.clients.peers import FACTS, NOT_KNOWN
from tests.clients.table import INSTALLED, REPLAYED, Client, InstalledClient
from tests.clients.versions import PYTHON_REQUIREMENTS, ROOT, read_python_pins
from tests.unit.source_imports import read_imports

ACCEPTANCE, NODE = ROOT / "tests/acceptance", ROOT / "tests/node"
# Packages of requirements-dev.txt that are no clients of the studio.
TOOLS = {
    "httpx", "hypothesis", "matplotlib", "mypy", "playwright", "pytest", "pytest-asyncio", "pytest-timeout",
    "pytest-xdist", "ruff", "schemathesis", "types-greenlet", "types-pyyaml",
}  # fmt: skip


def test_the_page_is_generated_from_the_table_and_the_outcomes() -> None:
    assert PAGE.read_text(encoding="utf-8") == build_page(load_outcomes()), "run python -m tests.clients"


def read_pins(name: str) -> set[str]:
    lines = (ROOT / name).read_text().splitlines()
    return {line.split("==")[0] for line in lines if line and not line.startswith("#")}


def test_every_client_that_is_installed_has_a_row() -> None:
    node_packages = set(json.loads((NODE / "package.json").read_text())["dependencies"])
    installed = node_packages | (read_pins("requirements-dev.txt") - TOOLS) | set(read_python_pins())
    assert installed - {client.package for client in INSTALLED} == set()


def test_every_row_is_of_a_package_that_is_pinned() -> None:
    for_python = read_pins("requirements.txt") | read_pins("requirements-dev.txt") | set(read_python_pins())
    node_packages = set(json.loads((NODE / "package.json").read_text())["dependencies"])
    pinned = {"PyPI": for_python, "npm": node_packages}
    assert [client.package for client in INSTALLED if client.package not in pinned[client.registry]] == []


@pytest.mark.parametrize("client", [*INSTALLED, *REPLAYED], ids=lambda client: client.name)
def test_the_tests_of_a_client_exist_and_are_not_skipped(client: Client) -> None:
    for test in client.tests:
        file, _, name = test.partition("::")
        functions = list(find_tests(ACCEPTANCE / file))
        found = [function for function in functions if name in ("", function.name)]
        assert found, test
        assert not re.search(r"\b(skip|skipif|xfail|importorskip)\(", "\n".join(map(ast.unparse, found))), test


def find_tests(file: Path) -> Iterator[ast.FunctionDef]:
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node


@pytest.mark.parametrize("client", INSTALLED, ids=lambda client: client.name)
def test_the_tests_of_a_client_use_it(client: InstalledClient) -> None:
    for test in client.tests:
        file, _, name = test.partition("::")
        source = (ACCEPTANCE / file).read_text(encoding="utf-8")
        functions = {function.name: ast.unparse(function) for function in find_tests(ACCEPTANCE / file)}
        if client.program:
            assert client.program in (functions[name] if name else source)
        else:
            assert uses_module(ACCEPTANCE / file, client.module), test
    if client.program.endswith(".mjs"):
        assert f'from "{client.module}"' in (NODE / client.program).read_text(encoding="utf-8")
    elif client.program:
        assert uses_module(PYTHON_REQUIREMENTS.with_name(client.program), client.module)


def uses_module(file: Path, module: str) -> bool:
    return any(name.split(".")[0] == module for name in read_imports(file))


async def test_the_http_apis_do_what_the_page_says(tmp_path: Path) -> None:
    assert await ask_http_doors(tmp_path) == select_apis(load_outcomes(), HTTP_DOORS), "run python -m tests.clients"


def test_no_wrong_value_is_replaced_silently() -> None:
    """And every error of the HTTP APIs names its field."""
    texts = [text for row in select_apis(load_outcomes(), HTTP_DOORS).values() for text in row.values()]
    assert [text for text in texts if "silently" in text or "no field" in text or "unchanged" in text] == []


def test_every_fact_about_others_has_a_source() -> None:
    """A file at a commit or a tag, or an issue."""
    pinned = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+/(blob/([0-9a-f]{40}|v[\d.]+)/[\w./-]+|issues/\d+)")
    for name, facts in FACTS.items():
        assert list(facts) == [case.name for case in CASES], name
        sources = [fact.source for fact in facts.values() if fact != NOT_KNOWN]
        assert [source for source in sources if source is None or not pinned.fullmatch(source)] == []


@pytest.mark.parametrize(
    ("outcome", "fields", "text"),
    [
        (Refused("invalid_request", "seed", 400), {"seed": -2}, "400 `invalid_request`: `seed`"),
        (Refused("unknown_model", None), {"model": "x"}, "`unknown_model`, no field named"),
        (Accepted(7, (128, 128)), {}, "a random seed, in the answer"),
        (Accepted(7, (128, 128)), {"seed": -2}, "accepted, unchanged"),
        (Accepted(7, (128, 128), ("colour",)), {"colour": "red"}, "ignored; `ignored` in the answer names `colour`"),
        (Accepted(7, (96, 96)), {"width": 100, "height": 100}, "96x96, silently"),
        (Accepted(7, (96, 96), requested_size="100x100"), {"width": 100, "height": 100},
         "96x96, and `requested` in the answer"),
    ],
)  # fmt: skip
def test_outcomes_are_described(outcome: Refused | Accepted, fields: dict[str, object], text: str) -> None:
    assert outcome.describe(Case("a case", fields)) == text


@pytest.mark.parametrize(
    ("message", "field"),
    [("seed: must be an integer", "seed"), ("There is no disk: none", None), ("This job was lost.", None)],
)
def test_the_field_of_a_message_is_found(message: str, field: str | None) -> None:
    assert find_field(message) == field
