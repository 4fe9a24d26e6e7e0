"""Scores the upscaler against Lanczos' filter, and writes its card and its contact sheet.

`python -m training.upscaler_card` needs the held-out pictures, which `python -m training upscaler` fetches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from imagegen.engine.upscaling.upscaler_cache import read_network
from training.contact_sheet import draw_contact_sheet
from training.dataset import Pixels
from training.degradation import degrade
from training.machine import Machine
from training.recipe import RECIPES
from training.upscaler import SCALE, place_on_background, to_unit_tensor
from training.upscaler_pictures import EMOJI_PACKAGES, load_held_out_pictures

FOLDER = Path(__file__).parent.parent / "assets/upscalers"
FILE = FOLDER / "studio-x4.safetensors"
COUNT = 40
# Pixels of a side of the crops on the sheet, and which pictures they are from.
SHEET_CROP, SHEET_PICTURES = 192, (1, 4, 9, 17)
DRAWINGS = "drawings"

Enlarge = Callable[[Pixels], Pixels]


@dataclass(frozen=True)
class Trial:
    """A large picture and its small version. `kind` is what the row of the table says."""

    kind: str
    small: Pixels
    large: Pixels


def main() -> None:
    torch.set_num_threads(1)
    trials = make_trials()
    own = load_own_enlarger()
    rows = []
    for kind in dict.fromkeys(trial.kind for trial in trials):
        chosen = [trial for trial in trials if trial.kind == kind]
        lanczos = float(np.mean([measure(trial, enlarge_by_lanczos) for trial in chosen]))
        ours = float(np.mean([measure(trial, own) for trial in chosen]))
        rows.append(f"| {kind} | {lanczos:.2f} | {ours:.2f} | {ours - lanczos:+.2f} |")
        print(rows[-1], flush=True)
    draw_sheet(trials, own)
    write_card(rows)


def make_trials() -> list[Trial]:
    held_out, rng = load_held_out_pictures(RECIPES["small"], Machine(), COUNT), np.random.default_rng(5)
    emoji = [place_on_background(picture, rng) for picture in held_out.emoji]
    kinds = {DRAWINGS: list(held_out.drawings), "emoji": emoji}
    return [
        Trial(
            f"{name}, {'made smaller' if is_clean else 'blurred, noisy or JPEG'}",
            degrade(large, SCALE, rng, is_clean),
            large,
        )
        for is_clean in (True, False)
        for name, pictures in kinds.items()
        for large in pictures
    ]


def load_own_enlarger() -> Enlarge:
    _, network = read_network(FILE, torch.device("cpu"))

    @torch.no_grad()
    def enlarge(small: Pixels) -> Pixels:
        output = network(to_unit_tensor(small[None]))[0]
        enlarged: Pixels = (output.clamp(0, 1) * 255).round().permute(1, 2, 0).byte().numpy()
        return enlarged

    return enlarge


def enlarge_by_lanczos(small: Pixels) -> Pixels:
    size = small.shape[1] * SCALE, small.shape[0] * SCALE
    return np.asarray(Image.fromarray(small).resize(size, Image.Resampling.LANCZOS))


def measure(trial: Trial, enlarge: Enlarge) -> float:
    """Returns the peak signal-to-noise ratio in dB."""
    error = np.square(enlarge(trial.small).astype(np.float64) - trial.large).mean()
    return 10 * math.log10(255**2 / max(float(error), 1e-3))


def draw_sheet(trials: list[Trial], own: Enlarge) -> None:
    # Drawings only: emoji are not ours to show.
    kinds = list(dict.fromkeys(trial.kind for trial in trials if trial.kind.startswith(DRAWINGS)))
    shown = [[trial for trial in trials if trial.kind == kind][place] for kind in kinds for place in SHEET_PICTURES]
    rows = [
        (name, [crop(enlarge(trial)) for trial in shown])
        for name, enlarge in (
            ("nearest", lambda trial: np.kron(trial.small, np.ones((SCALE, SCALE, 1), np.uint8))),
            ("Lanczos", lambda trial: enlarge_by_lanczos(trial.small)),
            ("Studio x4", lambda trial: own(trial.small)),
            ("original", lambda trial: trial.large),
        )
    ]
    names = [kind for kind in kinds for _ in SHEET_PICTURES]
    draw_contact_sheet(rows, names, SHEET_CROP).save(FOLDER / "contact-sheet.png", optimize=True)


def crop(pixels: Pixels) -> Image.Image:
    top, left = ((side - SHEET_CROP) // 2 for side in pixels.shape[:2])
    return Image.fromarray(pixels[top : top + SHEET_CROP, left : left + SHEET_CROP])


def write_card(rows: list[str]) -> None:
    architecture, _ = read_network(FILE, torch.device("cpu"))
    template = (Path(__file__).parent / "upscaler_card.md").read_text(encoding="utf-8")
    credit_rows = [f"| `{each.name}` | {each.version} | {each.author} | {each.licence} |" for each in EMOJI_PACKAGES]
    card = template.format(
        features=architecture.features,
        layers=architecture.blocks + 2,
        kilobytes=round(FILE.stat().st_size / 1000),
        count=COUNT,
        rows="\n".join(rows),
        credits="\n".join(credit_rows),
    )
    (FOLDER / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
