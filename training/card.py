"""The model card: what the embedded model is, how it was made, and how good it is, from the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from training.drawing.vocabulary import COLORS, EXTRAS, SCENES, SHAPES, STYLES, TIMES

WANTED = {
    "background by pixels": 0.95,
    "color by pixels": 0.90,
    "shape": 0.75,
    "scene": 0.85,
    "time": 0.90,
    "style": 0.85,
}


class Scored(Protocol):
    @property
    def count(self) -> int: ...
    @property
    def right(self) -> float: ...
    @property
    def drawn(self) -> float: ...
    @property
    def chance(self) -> float: ...


def write_card(model: Path, tallies: Mapping[str, Scored], prompts: Sequence[str]) -> None:
    rows = "\n".join(
        f"| {name} | {tally.right:.1%} | {goal(name)} | {tally.drawn:.1%} | {tally.chance:.1%} | {tally.count} |"
        for name, tally in tallies.items()
    )
    captions = "\n".join(f"{number}. {prompt}" for number, prompt in enumerate(prompts, 1))
    template = (Path(__file__).parent / "card.md").read_text(encoding="utf-8")
    card = template.format(
        rows=rows,
        prompts=captions,
        shapes=", ".join(SHAPES),
        colors=", ".join(COLORS),
        scenes=", ".join(SCENES),
        times=", ".join(TIMES),
        extras=", ".join(EXTRAS),
        styles=", ".join(STYLES),
    )
    (model / "README.md").write_text(card, encoding="utf-8")


def goal(name: str) -> str:
    return f"{WANTED[name]:.0%}" if name in WANTED else ""
