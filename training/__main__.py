"""`python -m training` trains the embedded model; `python -m training score` scores an existing one;
`python -m training lora` trains a style LoRA, `python -m training fast` a LoRA for few steps,
`python -m training upscaler` an upscaler, and `python -m training controlnet` a ControlNet for edges.

Each stage resumes where it was stopped, and is skipped when it is finished.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields, replace
from pathlib import Path

import torch

from training.controlnet import train_controlnet
from training.distillation import train_fast
from training.judge import WEIGHTS, load_judge, train_judge
from training.lora import train_lora
from training.machine import Machine, OutOfTimeError
from training.model import train_model
from training.recipe import RECIPES
from training.score import score
from training.upscaler import train_upscaler

ROOT = Path(__file__).parent.parent
TASKS = ("train", "score", "all", "lora", "fast", "upscaler", "controlnet")
EXIT_INCOMPLETE = 75


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    machine = Machine(arguments.until)
    overrides = {name: getattr(arguments, name) for name in list_int_fields() if getattr(arguments, name) is not None}
    recipe = replace(RECIPES[arguments.recipe], work=arguments.work, begin=arguments.begin, **overrides)
    try:
        if arguments.task in ("train", "all"):
            train_model(recipe, arguments.model, machine)
        if arguments.task in ("score", "all"):
            has_judge = arguments.task == "score" and arguments.judge.exists()
            judge = load_judge(arguments.judge) if has_judge else train_judge(recipe, machine, arguments.judge)
            score(arguments.model, judge, arguments.prompts, recipe.size, arguments.before)
        if arguments.task == "lora":
            train_lora(recipe, arguments.model, arguments.loras / "neon.safetensors", machine)
        if arguments.task == "fast":
            train_fast(recipe, arguments.model, arguments.loras / "fast.safetensors", machine)
        if arguments.task == "upscaler":
            train_upscaler(recipe, arguments.model, arguments.upscalers / "studio-x4.safetensors", machine)
        if arguments.task == "controlnet":
            train_controlnet(recipe, arguments.model, arguments.controlnets / "studio-edges", machine)
    except OutOfTimeError:
        print("The time is up; the same command resumes from here.", flush=True)
        sys.exit(EXIT_INCOMPLETE)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("task", nargs="?", choices=TASKS, default="all")
    parser.add_argument("--recipe", choices=RECIPES, default="small")
    parser.add_argument("--begin", type=Path, help="folder of a model whose weights to start from")
    parser.add_argument("--model", type=Path, default=ROOT / "assets/models/embedded", help="folder of the model")
    parser.add_argument("--loras", type=Path, default=ROOT / "assets/loras", help="folder of its LoRAs")
    parser.add_argument("--upscalers", type=Path, default=ROOT / "assets/upscalers", help="folder of upscalers")
    parser.add_argument("--controlnets", type=Path, default=ROOT / "assets/controlnets", help="folder of ControlNets")
    parser.add_argument("--judge", type=Path, default=WEIGHTS, help="weights of the judge; trained if missing")
    parser.add_argument("--work", type=Path, default=ROOT / "build/training", help="folder for work in progress")
    parser.add_argument("--prompts", type=int, default=500, help="number of prompts to score with")
    parser.add_argument("--before", type=Path, help="a model to score with the same prompts, for comparison")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--until", type=float, default=float("inf"), help="when to stop and save, in seconds since 1970"
    )
    for name in list_int_fields():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help="overrides the recipe's value")
    return parser.parse_args()


def list_int_fields() -> list[str]:
    """Returns the numbers of a recipe, which command line options can override."""
    return [field.name for field in fields(RECIPES["small"]) if field.type == "int"]


if __name__ == "__main__":
    main()
