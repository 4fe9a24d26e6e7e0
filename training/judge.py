"""Says what a picture shows: a small convolutional network, trained on drawn pictures only, never on generated ones."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.dataset import Pixels, described
from training.drawing.vocabulary import EXTRAS
from training.labels import CLASSES, IGNORED, Labels, visible
from training.loop import Averaged, Clock, Progress, load_state, save_state

WEIGHTS = Path(__file__).with_name("judge.safetensors")
SIZE = 64
BATCH = 128
CHANNELS = (3, 24, 48, 96, 128)


class Judge(nn.Module):
    """Pictures of shape (N, 3, 64, 64) in -1..1 to one row of scores per attribute, and one per extra."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise(CHANNELS):
            for inputs in (before, after):
                layers += [nn.Conv2d(inputs, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
        self.eyes = nn.Sequential(*layers, nn.Flatten(), nn.Linear(CHANNELS[-1] * 16, 256), nn.ReLU(), nn.Dropout(0.2))
        self.classes = nn.ModuleDict({name: nn.Linear(256, len(names)) for name, names in CLASSES.items()})
        self.extras = nn.Linear(256, len(EXTRAS))

    def forward(self, pictures: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        seen = self.eyes(pictures)
        return {name: head(seen) for name, head in self.classes.items()}, self.extras(seen)

    def loss(self, pictures: Tensor, truth: Labels) -> Tensor:
        classes, extras = self(pictures)
        scenes = truth.classes[:, 0] == 0
        loss = F.binary_cross_entropy_with_logits(extras[scenes], truth.extras[scenes]) * 6
        for column, scores in enumerate(classes.values()):
            answer = truth.classes[:, column]
            loss = loss + F.cross_entropy(scores, answer, ignore_index=IGNORED, reduction="sum") / len(answer)
        return loss


def small(pictures: Pixels) -> Tensor:
    """uint8 of shape (N, s, s, 3) as the judge sees it."""
    tensor = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float()
    return F.interpolate(tensor, (SIZE, SIZE), mode="area").div(127.5).sub(1)


def train_judge(pictures: Pixels, first: int, state: Path, steps: int, seed: int = 4) -> Judge:
    torch.manual_seed(seed)
    judge = Judge()
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-3, weight_decay=0.01)
    averaged, clock = Averaged([judge], limit=0.0), Clock(steps)
    load_state(state, clock, averaged, optimizer, judge)
    seen = torch.cat([small(pictures[i : i + 500]).half() for i in range(0, len(pictures), 500)])
    shown = [visible(described(first + i)) for i in range(len(pictures))]
    truth = Labels(torch.cat([one.classes for one in shown]), torch.cat([one.extras for one in shown]))
    progress = Progress("judge", clock)
    while not clock.done:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + clock.step)
        for group in optimizer.param_groups:
            group["lr"] = clock.rate(2e-3, warmup=50)
        chosen = torch.randint(len(seen), (BATCH,), generator=generator)
        batch = seen[chosen].float()
        batch = batch + 0.06 * torch.rand(BATCH, 1, 1, 1) * torch.randn_like(batch)
        with torch.autocast("cpu", torch.bfloat16):
            loss = judge.loss(batch, Labels(truth.classes[chosen], truth.extras[chosen]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        clock.tick()
        progress.note(loss=loss.item())
        if clock.should_save():
            save_state(state, clock, averaged, optimizer, judge)
    save_state(state, clock, averaged, optimizer, judge)
    save_file({name: tensor.half() for name, tensor in judge.state_dict().items()}, WEIGHTS)
    return load_judge()


def load_judge() -> Judge:
    """The judge that is kept beside this file."""
    judge = Judge()
    judge.load_state_dict(load_file(WEIGHTS))
    judge.eval()
    return judge


@torch.no_grad()
def verdicts(judge: Judge, pictures: Pixels) -> list[dict[str, str | frozenset[str]]]:
    """What the judge sees in each picture: a class for every attribute, and the set of extras."""
    classes, extras = judge(small(pictures))
    found = []
    for row in range(len(pictures)):
        seen: dict[str, str | frozenset[str]] = {
            name: names[int(classes[name][row].argmax())] for name, names in CLASSES.items()
        }
        seen["extras"] = frozenset(extra for i, extra in enumerate(EXTRAS) if extras[row, i] > 0)
        found.append(seen)
    return found
