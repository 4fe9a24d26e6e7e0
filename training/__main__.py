"""`python -m training` makes the embedded model; `python -m training score` judges the one that is there;
`python -m training lora` teaches it a style, and `python -m training fast` to do with few steps.

Each stage goes on where it was stopped, and is passed over when it is done.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields, replace
from pathlib import Path

import torch

from training.fast import train_fast
from training.judge import WEIGHTS, load_judge, train_judge
from training.lora import train_lora
from training.machine import Machine, OutOfTimeError
from training.model import train_model
from training.recipe import RECIPES
from training.score import score

ROOT = Path(__file__).parent.parent
AGAIN = 75


def main() -> None:
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    machine = Machine(arguments.until)
    given = {name: getattr(arguments, name) for name in lengths() if getattr(arguments, name) is not None}
    recipe = replace(RECIPES[arguments.recipe], work=arguments.work, begin=arguments.begin, **given)
    try:
        if arguments.task in ("train", "all"):
            train_model(recipe, arguments.model, machine)
        if arguments.task in ("score", "all"):
            there = arguments.task == "score" and arguments.judge.exists()
            judge = load_judge(arguments.judge) if there else train_judge(recipe, machine, arguments.judge)
            score(arguments.model, judge, arguments.prompts, recipe.size, arguments.before)
        if arguments.task == "lora":
            train_lora(recipe, arguments.model, arguments.loras / "neon.safetensors", machine)
        if arguments.task == "fast":
            train_fast(recipe, arguments.model, arguments.loras / "fast.safetensors", machine)
    except OutOfTimeError:
        print("The time is up; the same command goes on from here.", flush=True)
        sys.exit(AGAIN)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("task", nargs="?", choices=("train", "score", "all", "lora", "fast"), default="all")
    parser.add_argument("--recipe", choices=RECIPES, default="small")
    parser.add_argument("--begin", type=Path, help="a model to begin with, such as the one that is there")
    parser.add_argument("--model", type=Path, default=ROOT / "assets/models/embedded", help="where the model lies")
    parser.add_argument("--loras", type=Path, default=ROOT / "assets/loras", help="where its LoRAs lie")
    parser.add_argument("--judge", type=Path, default=WEIGHTS, help="its judge; learns anew where there is none")
    parser.add_argument("--work", type=Path, default=ROOT / "build/training", help="where work in progress lies")
    parser.add_argument("--prompts", type=int, default=500, help="how many prompts to judge by")
    parser.add_argument("--before", type=Path, help="a model to judge by the same prompts, for comparison")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--until", type=float, default=float("inf"), help="when to stop, to go on later: seconds since 1970"
    )
    for name in lengths():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help="instead of what the recipe says")
    return parser.parse_args()


def lengths() -> list[str]:
    """What a recipe counts, and a trial may want less of."""
    return [field.name for field in fields(RECIPES["small"]) if field.type == "int"]


if __name__ == "__main__":
    main()
