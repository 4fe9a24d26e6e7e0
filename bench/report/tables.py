"""Reads results, and formats them as Markdown."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Result = Mapping[str, Any]
Results = Mapping[str, Result]

BENCH = Path(__file__).parents[1]
PAGE = BENCH / "README.md"
PLOTS = BENCH / "plots"
MODELS = {
    "embedded": "the embedded model",
    "sd15": "Stable Diffusion 1.5",
    "sdxl": "Stable Diffusion XL",
    "thin-sd15": "Stable Diffusion 1.5, thin",
    "thin-sdxl": "Stable Diffusion XL, thin",
}
MODELS |= {f"{model}, compiled": f"{name}, compiled" for model, name in MODELS.items()}


def read_results(folder: Path) -> Results:
    """Returns the results in a folder, by the name of the bench."""
    return {file.stem: json.loads(file.read_bytes()) for file in sorted(folder.glob("*.json"))}


def load_results() -> tuple[Results, Results]:
    """Returns the results without a GPU and those with one."""
    return read_results(BENCH / "results"), read_results(BENCH / "results" / "gpu")


def models(results: Results, bench: str) -> Mapping[str, Result]:
    """Returns the results of a bench, by model."""
    return dict(results.get(bench, {}).get("models", {}))


def format_number(value: float | None) -> str:
    """Formats a number to three digits; None as an empty text."""
    if value is None:
        return ""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    digits = f"{value:.3g}"
    return f"{value:.6f}".rstrip("0") if "e" in digits else digits


def format_ratio(value: float) -> str:
    return f"{format_number(value)} x"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table. Columns of numbers are aligned to the right."""
    cells = list(rows)
    columns = zip(*cells, strict=True)
    lines = ["---:" if all(cell[:1].isdigit() for cell in column if cell) else "---" for column in columns]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, lines, *cells])


def plot(name: str, words: str) -> str:
    return f"![{words}](plots/{name}.svg)"


def section(title: str, words: str, *parts: str) -> str:
    return "\n\n".join(part for part in (title, wrap_text(words), *parts) if part)


def wrap_text(words: str) -> str:
    return textwrap.fill(words, 120, break_long_words=False, break_on_hyphens=False)


def format_provenance(result: Result) -> str:
    """Returns the commands and the machine of a result."""
    commands = [result["command"]] if "command" in result else [each["command"] for each in result["models"].values()]
    command_list = ", ".join(f"`{command}`" for command in dict.fromkeys(commands))
    return f"{command_list} on {result['machine']}."


def format_missing(bench: str) -> str:
    return f"Not measured yet; run `python -m bench.{bench}`."
