"""Several workers compile networks into one folder: each network is compiled once, and no file is ever incomplete."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imagegen.engine.compile.compiled_file import CompiledFile
from tests.unit.source_imports import ROOT

# Writes the code of the file on the command line, says so, and compiles on until it is killed.
ENDLESS_COMPILATION = """
import sys
from pathlib import Path
from imagegen.engine.compile.compiled_file import CompiledFile

file = CompiledFile(Path(sys.argv[1]))

def compile_network():
    file.partial.path.write_text("half")
    file.partial.constants_path.write_text("half")
    print("compiling", flush=True)
    sys.stdin.read()

file.compile_once(compile_network)
"""


@pytest.fixture
def file(tmp_path: Path) -> CompiledFile:
    return CompiledFile(tmp_path / "compiled" / "abc.pt2")


def compile_as(content: str, file: CompiledFile) -> Callable[[], None]:
    """Returns a function that writes and publishes both files."""

    def compile_network() -> None:
        file.partial.path.write_text(content)
        file.partial.constants_path.write_text(content)
        file.publish()

    return compile_network


def list_visible(file: CompiledFile) -> list[str]:
    return sorted(each.name for each in file.path.parent.iterdir() if each.suffix != ".lock")


def test_a_network_is_compiled_once(file: CompiledFile) -> None:
    file.compile_once(compile_as("first", file))
    file.compile_once(compile_as("second", file))
    assert (file.path.read_text(), file.constants_path.read_text()) == ("first", "first")
    assert list_visible(file) == ["abc.pt2", "abc.safetensors"]


def test_code_never_appears_without_its_constants(file: CompiledFile) -> None:
    """A reader looks for the code, so that nothing may go wrong after it has its name."""

    def compile_code_alone() -> None:
        file.partial.path.write_text("code")
        file.publish()

    with pytest.raises(FileNotFoundError):
        file.compile_once(compile_code_alone)
    assert list_visible(file) == []


def test_the_second_worker_waits_and_uses_the_file_of_the_first(file: CompiledFile) -> None:
    is_compiling, may_finish = threading.Event(), threading.Event()

    def compile_slowly() -> None:
        is_compiling.set()
        assert may_finish.wait(10)
        compile_as("first", file)()

    with ThreadPoolExecutor(2) as workers:
        first = workers.submit(file.compile_once, compile_slowly)
        assert is_compiling.wait(10)
        second = workers.submit(file.compile_once, compile_as("second", file))
        other = CompiledFile(file.path.with_name("def.pt2"))
        other.compile_once(compile_as("other", other))  # Another network waits for neither.
        assert not second.done()
        may_finish.set()
        first.result(10)
        second.result(10)
    assert file.path.read_text() == "first"
    assert list_visible(file) == ["abc.pt2", "abc.safetensors", "def.pt2", "def.safetensors"]


def test_a_worker_that_dies_releases_its_lock_and_its_partial_files_are_deleted(file: CompiledFile) -> None:
    command = [sys.executable, "-c", ENDLESS_COMPILATION, str(file.path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "compiling\n"
        assert len(list_visible(file)) == 2
        process.kill()
        process.wait()
        file.compile_once(compile_as("second", file))
    assert file.path.read_text() == "second"
    assert list_visible(file) == ["abc.pt2", "abc.safetensors"]


def test_a_failure_leaves_nothing_and_the_next_attempt_compiles(file: CompiledFile) -> None:
    def fail() -> None:
        file.partial.path.write_text("half")
        raise RuntimeError("the compiler failed")

    with pytest.raises(RuntimeError, match="the compiler failed"):
        file.compile_once(fail)
    assert list_visible(file) == []
    file.compile_once(compile_as("second", file))
    assert file.path.read_text() == "second"
