"""The folders of the settings: one studio at a time uses a data folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from imagegen.errors import FolderInUse, FolderUnusable
from imagegen.storage.data_folder import LOCK_FILE, create_folder, hold_data_folder
from tests.unit.source_imports import ROOT

HOLD = """
import sys
from pathlib import Path
from imagegen.storage.data_folder import hold_data_folder
with hold_data_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_holder_is_refused_until_the_first_process_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(FolderInUse) as refused, hold_data_folder(tmp_path):
            pass
        assert str(tmp_path) in str(refused.value) and "--data-dir" in str(refused.value)
        other.kill()
    with hold_data_folder(tmp_path):
        assert (tmp_path / LOCK_FILE).exists()


def test_a_folder_is_created_and_can_be_held_again(tmp_path: Path) -> None:
    for _ in range(2):
        with hold_data_folder(tmp_path / "new" / "data"):
            pass


def test_other_folders_can_be_held_meanwhile(tmp_path: Path) -> None:
    with hold_data_folder(tmp_path / "one"), hold_data_folder(tmp_path / "two"):
        pass


def test_a_file_in_its_place_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    message = f"The folder {file} cannot be used: it is not a folder. Choose another with --data-dir."
    with pytest.raises(FolderUnusable, match=message), hold_data_folder(file):
        pass
    with pytest.raises(FolderUnusable, match=r"a part of its path is not a folder\. Choose another with --models-dir"):
        create_folder(file / "below", "--models-dir")


def test_a_folder_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(FolderUnusable, match=r"The folder /proc/self/fd cannot be used: .*--data-dir"):  # noqa: SIM117
        with hold_data_folder(Path("/proc/self/fd")):
            pass
