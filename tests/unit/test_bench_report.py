"""The page of the benches says what their results say."""

from __future__ import annotations

import re
import subprocess
import sys

from bench.report.page import OF_MODELS, OF_STUDIO, page
from bench.report.tables import BENCH, PAGE, PLOTS, results


def test_the_page_is_made_of_the_results_that_are_there() -> None:
    assert PAGE.read_text() == page(*results()), "python -m bench.report makes it anew"


def test_its_plots_are_there_and_no_others() -> None:
    assert set(re.findall(r"\(plots/(.*?)\)", PAGE.read_text())) == {file.name for file in PLOTS.iterdir()}


def test_each_result_tells_its_machine_and_its_command() -> None:
    for found in results():
        for name, result in found.items():
            rows = [result] if "command" in result else result["models"].values()
            assert result["machine"] and all(row["command"].startswith("python -m bench.") for row in rows), name


def test_a_page_without_results_says_so() -> None:
    assert page({}, {}).count("Not measured yet") == len(OF_MODELS) + len(OF_STUDIO)


def test_the_text_is_made_without_torch_and_matplotlib() -> None:
    probe = "import sys, bench.report.page; print({'torch', 'matplotlib', 'numpy'} & set(sys.modules))"
    command = [sys.executable, "-c", probe]
    assert subprocess.run(command, cwd=BENCH.parent, capture_output=True, text=True, check=True).stdout == "set()\n"
