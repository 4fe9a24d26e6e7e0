"""Writes the model card: what the embedded model is, how it was trained, and its scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any, Protocol

from training.drawing.vocabulary import COLORS, EXTRAS, FIGURES, SCENES, SEASONS, SHAPES, STYLES, TIMES, WEATHERS

SINGLE, PAIRED = 0.97, 0.85
WANTED = {
    "shape": SINGLE,
    "figure": SINGLE,
    "shape: color": SINGLE,
    "color by pixels": SINGLE,
    "background by pixels": SINGLE,
    "scene": SINGLE,
    "time": SINGLE,
    "weather": SINGLE,
    "season": SINGLE,
    "style": SINGLE,
    "pair: each color on its thing": PAIRED,
    "colors of two by pixels": PAIRED,
}
WIDTH = 118


class Scored(Protocol):
    @property
    def count(self) -> int: ...
    @property
    def right(self) -> float: ...
    @property
    def before(self) -> float | None: ...
    @property
    def drawn(self) -> float: ...
    @property
    def chance(self) -> float: ...


def write_model_card(
    model: Path, tallies: Mapping[str, Scored], prompts: Sequence[str], trial_count: int, sampling: str
) -> None:
    unet, vae, text = (read_config(model / part) for part in ("unet", "vae", "text_encoder"))
    template = (Path(__file__).parent / "card.md").read_text(encoding="utf-8")
    card = template.format(
        knows=fill(describe_vocabulary(), WIDTH),
        size=unet["sample_size"] * 8,
        megabytes=round(sum(file.stat().st_size for file in model.rglob("*.safetensors")) / 1e6),
        channels=", ".join(map(str, unet["block_out_channels"])),
        painter=vae["encoder_block_out_channels"][0],
        layers=text["num_hidden_layers"],
        width=text["hidden_size"],
        words=f"{text['vocab_size']:,}",
        trial_count=trial_count,
        sampling=sampling,
        rows="\n".join(row(name, tally) for name, tally in tallies.items()),
        shown=len(prompts),
        prompts="\n".join(f"{number}. {prompt}" for number, prompt in enumerate(prompts, 1)),
    )
    (model / "README.md").write_text(card, encoding="utf-8")


def read_config(part: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((part / "config.json").read_text(encoding="utf-8"))
    return config


def describe_vocabulary() -> str:
    lists = {
        "the colours": COLORS,
        "the shapes": SHAPES,
        "the figures": FIGURES,
        "the scenes": SCENES,
        "the times": TIMES,
        "the weathers": WEATHERS,
        "the seasons": SEASONS,
        "the styles": STYLES,
    }
    vocabulary = "; ".join(f"{what} {', '.join(names)}" for what, names in lists.items())
    return (
        f"It knows {vocabulary}; and {', '.join(EXTRAS)} in a scene. One or two things at a time have their own colours"
        " and positions. Word order is free, common synonyms are understood, and other words do no harm."
    )


def row(name: str, tally: Scored) -> str:
    goal = f"{WANTED[name]:.0%}" if name in WANTED else ""
    before = "" if tally.before is None else f"{tally.before:.1%}"
    cells = (name, f"{tally.right:.1%}", goal, before, f"{tally.drawn:.1%}", f"{tally.chance:.1%}", str(tally.count))
    return f"| {' | '.join(cells)} |"
