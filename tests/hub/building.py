"""What all builders of tiny models do alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import torch

Builder = Callable[[Path], None]


def tiny(build: Callable[[], Any]) -> Builder:
    """Turns what makes a pipeline into what saves it to a folder: always the same weights, in half precision."""

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
            # Transformers loads in the precision that it finds, diffusers in full precision. Both are to agree.
            config.write_text(config.read_text().replace('"dtype": "float16"', '"dtype": "float32"'))

    return save


@torch.no_grad()
def amplify(module: torch.nn.Module, factor: float) -> None:
    for parameter in module.parameters():
        parameter.mul_(factor)


@torch.no_grad()
def vivid(model: Any, *endings: str, factor: float) -> Any:
    """Amplifies the parts whose names end so, and starts output layers that begin as zeros.

    Prompts change pictures little by random weights, and nothing does behind zeros, neither a prompt nor a LoRA.
    """
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d) and not module.weight.any():
            torch.nn.init.xavier_uniform_(module.weight)
        if name.endswith(endings):
            amplify(module, factor)
    return model
