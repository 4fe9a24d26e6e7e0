"""Says what a picture of the published weights shows: the judge of their generation, see training/README.md."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_suffix(".safetensors")
SIZE, CHANNELS, EXTRAS = 64, (3, 24, 48, 96, 128), 11
COLORS = 12
# The names of what is asked for here, and how many answers there are to what is not.
CLASSES: dict[str, tuple[str, ...] | int] = {
    "kind": ("scene", "shape"),
    "style": ("plain", "watercolor", "pixel art", "line drawing"),
    "shape": 10,
    "color": COLORS,
    "background": COLORS,
    "size": 3,
    "position": 5,
    "scene": ("mountains", "sea", "lake", "desert", "forest", "hills", "city"),
    "time": ("sunrise", "day", "sunset", "night"),
    "house": COLORS,
    "boat": COLORS,
    "balloon": COLORS,
}


class FirstJudge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise(CHANNELS):
            for inputs in (before, after):
                layers += [nn.Conv2d(inputs, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
        self.eyes = nn.Sequential(*layers, nn.Flatten(), nn.Linear(CHANNELS[-1] * 16, 256), nn.ReLU(), nn.Dropout(0.2))
        counts = {name: names if isinstance(names, int) else len(names) for name, names in CLASSES.items()}
        self.classes = nn.ModuleDict({name: nn.Linear(256, count) for name, count in counts.items()})
        self.extras = nn.Linear(256, EXTRAS)
        self.load_state_dict(load_file(WEIGHTS))
        self.eval()

    @torch.no_grad()
    def verdict(self, picture: NDArray[np.uint8]) -> dict[str, str]:
        pixels: Tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
        seen = self.eyes(F.interpolate(pixels, (SIZE, SIZE), mode="area").div(127.5).sub(1))
        return {
            name: names[int(self.classes[name](seen).argmax())]
            for name, names in CLASSES.items()
            if not isinstance(names, int)
        }
