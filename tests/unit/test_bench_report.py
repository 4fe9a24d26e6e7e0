"""The page of the benches matches their results."""

from __future__ import annotations

import re
import subprocess
import sys

from bench.report.page import MODEL_SECTIONS, STUDIO_SECTIONS, build_page
from bench.report.tables import BENCH, PAGE, PLOTS, load_results


def test_the_page_is_made_of_the_results_that_are_there() -> None:
    assert PAGE.read_text() == build_page(*load_results()), "run python -m bench.report"


def test_its_plots_are_there_and_no_others() -> None:
    assert set(re.findall(r"\(plots/(.*?)\)", PAGE.read_text())) == {file.name for file in PLOTS.iterdir()}


def test_each_result_has_its_machine_and_its_command() -> None:
    for found in load_results():
        for name, result in found.items():
            rows = [result] if "command" in result else result["models"].values()
            assert result["machine"] and all(row["command"].startswith("python -m bench.") for row in rows), name


def test_a_page_without_results_names_the_missing_ones() -> None:
    assert build_page({}, {}).count("Not measured yet") == len(MODEL_SECTIONS) + len(STUDIO_SECTIONS)


def test_the_text_is_made_without_torch_and_matplotlib() -> None:
    probe = "import sys, bench.report.page; print({'torch', 'matplotlib', 'numpy'} & set(sys.modules))"
    command = [sys.executable, "-c", probe]
    assert subprocess.run(command, cwd=BENCH.parent, capture_output=True, text=True, check=True).stdout == "set()\n"
