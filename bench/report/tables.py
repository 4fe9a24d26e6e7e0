"""How results are read and shown."""

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


def read(folder: Path) -> Results:
    """By the names of their benches."""
    return {file.stem: json.loads(file.read_bytes()) for file in sorted(folder.glob("*.json"))}


def results() -> tuple[Results, Results]:
    """Without a GPU, and with one."""
    return read(BENCH / "results"), read(BENCH / "results" / "gpu")


def models(found: Results, bench: str) -> Mapping[str, Result]:
    """What a bench found, by the model that it was done with."""
    return dict(found.get(bench, {}).get("models", {}))


def number(value: float | None) -> str:
    """To three digits."""
    if value is None:
        return ""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    digits = f"{value:.3g}"
    return f"{value:.6f}".rstrip("0") if "e" in digits else digits


def times(value: float) -> str:
    return f"{number(value)} x"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns of numbers stand to the right."""
    cells = list(rows)
    columns = zip(*cells, strict=True)
    lines = ["---:" if all(cell[:1].isdigit() for cell in column if cell) else "---" for column in columns]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, lines, *cells])


def plot(name: str, words: str) -> str:
    return f"![{words}](plots/{name}.svg)"


def section(title: str, words: str, *parts: str) -> str:
    return "\n\n".join(part for part in (title, wrapped(words), *parts) if part)


def wrapped(words: str) -> str:
    return textwrap.fill(words, 120, break_long_words=False, break_on_hyphens=False)


def made_by(result: Result) -> str:
    """The command and the machine."""
    commands = [result["command"]] if "command" in result else [each["command"] for each in result["models"].values()]
    told = ", ".join(f"`{command}`" for command in dict.fromkeys(commands))
    return f"{told} on {result['machine']}."


def missing(bench: str) -> str:
    return f"Not measured yet; `python -m bench.{bench}` does it."
