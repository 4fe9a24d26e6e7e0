"""`python -m training` makes the embedded model; `python -m training score` judges the one that is there;
`python -m training lora` teaches it a style.

Each stage goes on where it was stopped, and is passed over when it is done.
"""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path

import torch
from torch import Tensor

from training.autoencoder import encoded, train_autoencoder, train_decoder
from training.dataset import dataset
from training.denoiser import Lessons, new_denoiser, train_denoiser
from training.judge import train_judge
from training.lora import train_lora
from training.package import package, write_preview_matrix
from training.recipe import FIRST_SEED, Recipe
from training.score import score
from training.text_encoder import train_text_encoder
from training.tokenizer import make_tokenizer

ROOT = Path(__file__).parent.parent


def train(recipe: Recipe, model: Path) -> None:
    pictures = dataset(recipe.work, FIRST_SEED, recipe.pictures, recipe.size)
    tokenizer = make_tokenizer(recipe.work / "tokenizer")
    text = train_text_encoder(tokenizer, recipe.work / "text_encoder.pt", recipe.text_steps)
    autoencoder = train_autoencoder(
        pictures, recipe.work / "autoencoder.pt", recipe.autoencoder_steps, recipe.autoencoder_width
    )
    latents_file = recipe.work / f"latents-{recipe.autoencoder_steps}.pt"
    if not latents_file.exists():
        torch.save(encoded(autoencoder, pictures), latents_file)
    latents: Tensor = torch.load(latents_file, weights_only=True)
    scale = round(1 / latents[:2000].float().std().item(), 4)
    lessons = Lessons(latents, scale, FIRST_SEED, tokenizer, seed=3)
    unet = new_denoiser(recipe.channels, latents.shape[-1])
    train_denoiser(unet, text, lessons, recipe.work / "denoiser.pt", recipe.denoiser_steps)
    train_decoder(autoencoder, latents, pictures, recipe.work / "decoder.pt", recipe.decoder_steps)
    package(model, autoencoder, scale, text, tokenizer, unet)
    write_preview_matrix(model, latents, scale, pictures)


def judge_model(recipe: Recipe, model: Path, prompts: int) -> None:
    pictures = dataset(recipe.work, FIRST_SEED, recipe.pictures, recipe.size)
    judge = train_judge(pictures, FIRST_SEED, recipe.work / "judge.pt", recipe.judge_steps)
    score(model, judge, prompts, recipe.size)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("task", nargs="?", choices=("train", "score", "all", "lora"), default="all")
    parser.add_argument("--model", type=Path, default=ROOT / "assets/models/embedded", help="where the model lies")
    parser.add_argument("--lora", type=Path, default=ROOT / "assets/loras/neon.safetensors", help="where it goes")
    parser.add_argument("--work", type=Path, default=ROOT / "build/training", help="where work in progress lies")
    parser.add_argument("--prompts", type=int, default=400, help="how many prompts to judge by")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    lengths = [field.name for field in fields(Recipe) if field.name.endswith("_steps")]
    for name in lengths:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=f"instead of {getattr(Recipe, name)}")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    given = {name: getattr(arguments, name) for name in lengths if getattr(arguments, name) is not None}
    recipe = replace(Recipe(arguments.work), **given)
    if arguments.task in ("train", "all"):
        train(recipe, arguments.model)
    if arguments.task in ("score", "all"):
        judge_model(recipe, arguments.model, arguments.prompts)
    if arguments.task == "lora":
        train_lora(recipe, arguments.model, arguments.lora)


if __name__ == "__main__":
    main()
