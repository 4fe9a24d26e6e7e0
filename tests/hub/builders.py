"""Functions that all builders of tiny models share."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import torch

Builder = Callable[[Path], None]


def tiny(build: Callable[[], Any]) -> Builder:
    """Returns a builder that saves a pipeline to a folder, always with the same weights, in half precision."""

    @wraps(build)
    def save(folder: Path) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            pipeline = build()
        for component in pipeline.components.values():
            if isinstance(component, torch.nn.Module):
                component.half()
        pipeline.save_pretrained(folder, safe_serialization=True)
        for config in folder.glob("text_encoder*/config.json"):
            # Transformers loads in the stored precision, diffusers in full precision. Both must agree.
            config.write_text(config.read_text().replace('"dtype": "float16"', '"dtype": "float32"'))

    return save


def with_class(build: Builder, component: str, name: str) -> Builder:
    """Returns a builder whose model names another class of transformers for a component, as models on the Hub do."""

    @wraps(build)
    def save(folder: Path) -> None:
        build(folder)
        index = folder / "model_index.json"
        index.write_text(json.dumps(json.loads(index.read_text()) | {component: ["transformers", name]}, indent=2))

    return save


@torch.no_grad()
def amplify(module: torch.nn.Module, factor: float) -> None:
    for parameter in module.parameters():
        parameter.mul_(factor)


@torch.no_grad()
def amplify_parts(model: Any, *endings: str, factor: float) -> Any:
    """Amplifies the parts whose names end so, and initializes output layers that are zero.

    With random weights, prompts change pictures little; behind layers of zeros, neither prompts nor LoRAs change
    anything.
    """
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d) and not module.weight.any():
            torch.nn.init.xavier_uniform_(module.weight)
        if name.endswith(endings):
            amplify(module, factor)
    return model
