"""Reads the imports of the project's source files, without importing them."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator, Mapping, Set
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


def list_modules(*folders: str) -> dict[str, Path]:
    """Returns the file of each module under `folders`, by the module's dotted name. A package has its folder's name."""
    files = sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))
    return {get_module_name(file): file for file in files}


def get_module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def read_imports(file: Path) -> frozenset[str]:
    """Returns the dotted names that `file` imports anywhere; `from a import b` gives `a.b`.

    Imports under `if TYPE_CHECKING:` are left out: they do not run.
    """
    return frozenset(find_imports(ast.parse(file.read_text(encoding="utf-8"))))


def find_imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                pass
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(str(source), names):
                yield from (f"{source}.{alias.name}" for alias in names)
            case _:
                yield from find_imports(node)


def read_graph(modules: Mapping[str, Path]) -> dict[str, frozenset[str]]:
    """Returns the modules that each of `modules` imports, as far as they are among `modules`."""
    return {
        name: frozenset(found for imported in read_imports(file) if (found := find_module(imported, modules)))
        for name, file in modules.items()
    }


def find_module(name: str, modules: Container[str]) -> str | None:
    """Returns the module of a dotted name: for `a.b`, this is `a.b`, or `a` if `b` is not a module."""
    return next((module for module in (name, name.rpartition(".")[0]) if module in modules), None)


def find_cycle(graph: Mapping[str, Set[str]]) -> list[str]:
    """Returns the modules of one import cycle, the first one again at the end, or an empty list."""
    finished: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in finished:
            return []
        for imported in sorted(graph[name]):
            if cycle := visit(imported, [*path, name]):
                return cycle
        finished.add(name)
        return []

    return next((cycle for name in sorted(graph) if (cycle := visit(name, []))), [])
