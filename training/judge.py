"""The judge: a small convolutional network that classifies pictures. It is trained on drawn pictures only."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.dataset import Pixels, dataset, sample_picture
from training.drawing.vocabulary import EXTRAS
from training.labels import CLASSES, IGNORED, Labels, labels, list_invisible_attributes
from training.loop import TrainingSchedule, run_training
from training.machine import Machine
from training.recipe import FIRST_SEED, Recipe

WEIGHTS = Path(__file__).with_name("judge.safetensors")
SIZE = 128
BATCH = 96
CHANNELS = (32, 48, 96, 144, 192)


class Judge(nn.Module):
    """Maps pictures of shape (N, 3, 128, 128) in -1..1 to one row of logits per attribute, and one per extra."""

    def __init__(self) -> None:
        super().__init__()
        stem, *_ = CHANNELS
        layers = layer(3, stem, 5, stride=2)
        for before, after in pairwise(CHANNELS):
            layers += layer(before, after, 3)
            # At the largest resolution, one layer is enough.
            layers += layer(after, after, 3) if before != stem else []
            layers.append(nn.MaxPool2d(2))
        self.eyes = nn.Sequential(*layers, nn.Flatten(), nn.Linear(CHANNELS[-1] * 16, 320), nn.ReLU(), nn.Dropout(0.2))
        self.classes = nn.ModuleDict({name: nn.Linear(320, len(names)) for name, names in CLASSES.items()})
        self.extras = nn.Linear(320, len(EXTRAS))

    def forward(self, pictures: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        features = self.eyes(pictures)
        return {name: head(features) for name, head in self.classes.items()}, self.extras(features)

    def loss(self, pictures: Tensor, truth: Labels) -> Tensor:
        classes, extras = self(pictures)
        scenes = truth.classes[:, 0] == CLASSES["place"].index("scene")
        missed = F.binary_cross_entropy_with_logits(extras, truth.extras, reduction="none").mean(1)
        loss: Tensor = (missed * scenes).sum() / scenes.sum().clamp(min=1) * 6
        for column, scores in enumerate(classes.values()):
            answer = truth.classes[:, column]
            loss = loss + F.cross_entropy(scores, answer, ignore_index=IGNORED, reduction="sum") / len(answer)
        return loss


def layer(inputs: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, size, stride, padding=size // 2), nn.BatchNorm2d(outputs), nn.ReLU()]


def to_judge_input(pictures: Pixels) -> Tensor:
    """Scales uint8 pictures of shape (N, s, s, 3) to the judge's input of shape (N, 3, 128, 128) in -1..1."""
    tensor = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float()
    return F.interpolate(tensor, (SIZE, SIZE), mode="area").div(127.5).sub(1)


def train_judge(recipe: Recipe, machine: Machine, file: Path = WEIGHTS, seed: int = 4) -> Judge:
    """Trains the judge and saves it to `file`."""
    judge = Judge().to(machine.device)
    pictures = dataset(recipe.work, FIRST_SEED, recipe.pictures, SIZE, machine.workers)
    shown = [sample_picture(FIRST_SEED + i) for i in range(len(pictures))]
    truth = labels(shown, [list_invisible_attributes(picture) for picture in shown])

    def compute_loss(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        chosen = torch.randint(len(pictures), (BATCH,), generator=generator)
        batch = to_judge_input(pictures[chosen.numpy()]).to(machine.device)
        batch = batch + 0.06 * torch.rand(BATCH, 1, 1, 1, device=batch.device) * torch.randn_like(batch)
        with machine.autocast():
            loss = judge.loss(batch, Labels(truth.classes[chosen], truth.extras[chosen]).to(machine.device))
        return loss, {}

    training_schedule = TrainingSchedule("judge", recipe.judge_steps, 2e-3, warmup=50, average=0.0)
    run_training(training_schedule, [judge], compute_loss, recipe.work / "judge.pt", machine, seed)
    save_file({name: tensor.half().contiguous().cpu() for name, tensor in judge.state_dict().items()}, file)
    return load_judge(file)


def load_judge(file: Path = WEIGHTS) -> Judge:
    """Loads a judge, ready for inference."""
    judge = Judge()
    judge.load_state_dict(load_file(file))
    judge.eval()
    return judge


@torch.no_grad()
def classify_pictures(judge: Judge, pictures: Pixels) -> list[dict[str, str | frozenset[str]]]:
    """Returns for each picture a class for every attribute, and the set of extras."""
    classes, extras = judge(to_judge_input(pictures))
    answers = []
    for row in range(len(pictures)):
        answer: dict[str, str | frozenset[str]] = {
            name: names[int(classes[name][row].argmax())] for name, names in CLASSES.items()
        }
        answer["extras"] = frozenset(extra for i, extra in enumerate(EXTRAS) if extras[row, i] > 0)
        answers.append(answer)
    return answers
