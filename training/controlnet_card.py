"""Scores the ControlNet on drawings that were not used in training, and writes its card and its contact sheet.

`python -m training.controlnet_card` compares the edges of pictures, drawn with and without the ControlNet, to those
that were asked for.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionPipeline
from PIL import Image
from torch import Tensor

from imagegen.media.control_maps.canny import HIGH, LOW, find_edges
from training.contact_sheet import draw_contact_sheet
from training.control_pipeline import ControlPipeline
from training.dataset import Pixels
from training.edge_maps import Edges, find_outlines, make_scribble, to_map
from training.edge_score import TOLERANCE, Agreement, average, compare_edges
from training.recipe import RECIPES, Recipe
from training.score import SAMPLING, Trial, make_trials

ROOT = Path(__file__).parent.parent
PICTURES = 64
# Which of the trials are on the sheet, and the pixels of a side of its pictures.
SHEET_TRIALS, SHEET_SIDE = (1, 4, 8, 11, 14, 19), 144


@dataclass(frozen=True)
class MapKind:
    """Maps of all drawings, made in one way. `find` finds the edges by which drawings and pictures are compared."""

    name: str
    maps: list[Tensor]
    find: Callable[[Pixels], Edges]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.controlnet_card", description=__doc__)
    parser.add_argument("--recipe", choices=RECIPES, default="small")
    parser.add_argument("--model", type=Path, default=ROOT / "assets/models/embedded")
    parser.add_argument("--controlnet", type=Path, default=ROOT / "assets/controlnets/studio-edges")
    parser.add_argument("--pictures", type=int, default=PICTURES)
    arguments = parser.parse_args()
    score_controlnet(RECIPES[arguments.recipe], arguments.model, arguments.controlnet, arguments.pictures)


def score_controlnet(recipe: Recipe, model: Path, folder: Path, count: int) -> dict[str, tuple[Agreement, Agreement]]:
    """Writes the card and the sheet to `folder`. Returns the agreement without and with the ControlNet, for each kind
    of map.
    """
    pipeline = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32)
    controlnet = ControlNetModel.from_pretrained(folder, dtype=torch.float32)
    painter, trials = ControlPipeline(pipeline, controlnet), make_trials(count, recipe.size)
    prompts = [trial.prompt for trial in trials]
    plain = painter.draw(prompts, None)
    kinds = make_map_kinds(trials)
    drawn = {kind.name: painter.draw(prompts, kind.maps) for kind in kinds}
    scores = {kind.name: (measure(trials, plain, kind), measure(trials, drawn[kind.name], kind)) for kind in kinds}
    for name, pair in scores.items():
        print(name, *pair, flush=True)
    draw_sheet(trials, kinds, plain, drawn).save(folder / "contact-sheet.png", optimize=True)
    write_card(folder, controlnet, recipe, count, scores)
    return scores


def make_map_kinds(trials: list[Trial]) -> list[MapKind]:
    references, rng = [trial.reference for trial in trials], np.random.default_rng(21)
    return [
        MapKind("canny", [to_map(find_edges(pixels)) for pixels in references], find_edges),
        MapKind(
            "scribble by hand", [make_scribble(find_outlines(pixels), rng) for pixels in references], find_outlines
        ),
    ]


def measure(trials: list[Trial], pictures: list[Pixels], kind: MapKind) -> Agreement:
    pairs = zip(trials, pictures, strict=True)
    return average([compare_edges(kind.find(trial.reference), kind.find(picture)) for trial, picture in pairs])


def draw_sheet(
    trials: list[Trial], kinds: list[MapKind], plain: list[Pixels], drawn: dict[str, list[Pixels]]
) -> Image.Image:
    """Returns a sheet with a column for each trial: the drawing, the picture without, and each map with its picture."""
    rows = [("drawing", [trial.reference for trial in trials]), ("without", plain)]
    for kind in kinds:
        rows += [(kind.name, [to_pixels(each) for each in kind.maps]), ("with it", drawn[kind.name])]
    shown = [place for place in SHEET_TRIALS if place < len(trials)]
    pictures = [(name, [Image.fromarray(column[place]) for place in shown]) for name, column in rows]
    return draw_contact_sheet(pictures, [trials[place].prompt for place in shown], SHEET_SIDE)


def to_pixels(control_map: Tensor) -> Pixels:
    pixels: Pixels = (control_map * 255).round().byte().permute(1, 2, 0).numpy()
    return pixels


def write_card(
    folder: Path,
    controlnet: ControlNetModel,
    recipe: Recipe,
    count: int,
    scores: dict[str, tuple[Agreement, Agreement]],
) -> None:
    rows = [
        f"| {name} | {which} | {score.precision:.1%} | {score.recall:.1%} | {score.f1:.1%} |"
        for name, pair in scores.items()
        for which, score in zip(("without", "with"), pair, strict=True)
    ]
    template = (Path(__file__).parent / "controlnet_card.md").read_text(encoding="utf-8")
    card = template.format(
        rows="\n".join(rows),
        millions=f"{controlnet.num_parameters() / 1e6:.1f}",
        megabytes=round(sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 1e6),
        pictures=f"{recipe.controlnet_pictures:,}",
        steps=f"{recipe.controlnet_steps:,}",
        batch=recipe.controlnet_batch,
        size=recipe.size,
        count=count,
        sampling=SAMPLING,
        low=LOW,
        high=HIGH,
        tolerance=TOLERANCE,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
