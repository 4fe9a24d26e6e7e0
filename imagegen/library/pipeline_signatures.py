"""The pipeline classes of the installed diffusers, read from its source code. Needs no torch, and imports none of it.

A class is described by the parameters of its `__init__`, which are its components, and of its `__call__`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

CLASS_PATTERN = re.compile(r"^class (\w+)\b", re.MULTILINE)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a method: its annotation as it is written, and its default, None if that is not a literal."""

    annotation: str = ""
    default: object = None

    @property
    def is_optional(self) -> bool:
        """Returns whether its annotation allows None."""
        return "None" in self.annotation or "Optional" in self.annotation


@dataclass(frozen=True)
class PipelineSignature:
    """A pipeline class of diffusers.

    `folder` is the one of its file below `diffusers/pipelines`, such as "flux" or "deprecated/amused". `components` are
    the parameters of `__init__`, `parameters` those of `__call__`, `encoder_parameters` those of `encode_prompt`, all
    by name. `constants` are the numbers that `__init__` sets as attributes, and `offset_guidance` says that guidance
    begins above a scale of 0, not of 1.
    """

    name: str
    folder: str
    components: Mapping[str, Parameter] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    encoder_parameters: Mapping[str, Parameter] = field(default_factory=dict)
    constants: Mapping[str, int] = field(default_factory=dict)
    offset_guidance: bool = False


@cache
def read_pipeline_signature(name: str) -> PipelineSignature | None:
    """Returns the pipeline class of this name; None if diffusers has none. Reads the disk at the first call."""
    file = find_pipeline_files().get(name)
    if file is None:
        return None
    found = find_class(file, name)
    methods = find_methods(file, found)
    init, call, encode = (methods.get(each) for each in ("__init__", "__call__", "encode_prompt"))
    return PipelineSignature(
        name=name,
        folder=file.parent.relative_to(get_pipelines_folder()).as_posix(),
        components=read_parameters(init),
        parameters=read_parameters(call),
        encoder_parameters=read_parameters(encode),
        constants=dict(read_constants(init)),
        offset_guidance=any(map(is_offset_guidance, ast.walk(found))),
    )


@cache
def find_pipeline_files() -> Mapping[str, Path]:
    """Returns the files of all pipeline classes of the installed diffusers, by the name of the class."""
    files = sorted(get_pipelines_folder().rglob("pipeline_*.py"))
    names = ((name, file) for file in files for name in CLASS_PATTERN.findall(file.read_text(encoding="utf-8")))
    return {name: file for name, file in names if name.endswith("Pipeline")}


@cache
def get_pipelines_folder() -> Path:
    """Returns the folder `diffusers/pipelines`. Does not import diffusers."""
    spec = find_spec("diffusers")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "pipelines"


def find_class(file: Path, name: str) -> ast.ClassDef:
    """Returns the class of this name in a file. Parses the file from there to its next class only, to be fast."""
    text = file.read_text(encoding="utf-8")
    starts = {match[1]: match.start() for match in CLASS_PATTERN.finditer(text)}
    end = min((start for start in starts.values() if start > starts[name]), default=len(text))
    tree = ast.parse(text[starts[name] : end])
    return next(node for node in tree.body if isinstance(node, ast.ClassDef))


def find_methods(file: Path, found: ast.ClassDef) -> dict[str, ast.FunctionDef]:
    """Returns the methods of a class and of its base classes among the pipelines, by name."""
    methods: dict[str, ast.FunctionDef] = {}
    for base in found.bases:
        base_file = find_pipeline_files().get(base.id) if isinstance(base, ast.Name) else None
        if base_file is not None and isinstance(base, ast.Name):
            methods |= find_methods(base_file, find_class(base_file, base.id))
    return methods | {node.name: node for node in found.body if isinstance(node, ast.FunctionDef)}


def read_parameters(function: ast.FunctionDef | None) -> dict[str, Parameter]:
    """Returns the parameters of a method by name, without `self`."""
    if function is None:
        return {}
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + [*arguments.defaults]
    pairs = [*zip(positional, defaults, strict=True), *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return {
        argument.arg: Parameter(ast.unparse(argument.annotation) if argument.annotation else "", read_literal(default))
        for argument, default in pairs
        if argument.arg != "self"
    }


def read_literal(node: ast.expr | None) -> object:
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return None


def read_constants(function: ast.FunctionDef | None) -> Iterator[tuple[str, int]]:
    """Yields the attributes that a method sets to a number, such as `self.tokenizer_max_length = 512`."""
    for node in ast.walk(function) if function is not None else ():
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and type(node.value.value) is int:
            yield from ((target.attr, node.value.value) for target in node.targets if isinstance(target, ast.Attribute))


def is_offset_guidance(node: ast.AST) -> bool:
    """Returns whether a node compares the guidance scale with 0: `self._guidance_scale > 0`."""
    match node:
        case ast.Compare(
            left=ast.Attribute(attr="_guidance_scale" | "guidance_scale"),
            ops=[ast.Gt()],
            comparators=[ast.Constant(value=0)],
        ):
            return True
    return False
