"""All training stages of the embedded model, in order."""

from __future__ import annotations

from pathlib import Path

from diffusers import DPMSolverMultistepScheduler

from training.autoencoder import new_autoencoder, train_autoencoder, train_decoder
from training.dataset import dataset
from training.denoiser import DenoiserBatches, new_denoiser, schedule, train_denoiser
from training.latents import load_or_encode_latents
from training.machine import Machine
from training.package import package, write_preview_matrix
from training.recipe import FIRST_SEED, Recipe
from training.text_encoder import new_text_encoder, train_text_encoder
from training.tokenizer import make_tokenizer
from training.warm_start import warm_start_autoencoder, warm_start_denoiser, warm_start_text_encoder

SCALED_BY = 2000


def train_model(recipe: Recipe, model: Path, machine: Machine) -> None:
    """Trains all parts and writes them as a stock StableDiffusionPipeline folder to `model`."""
    work, begin = recipe.work, recipe.begin
    pictures = dataset(work, FIRST_SEED, recipe.painted, recipe.size, machine.workers)

    tokenizer = make_tokenizer(work / "tokenizer")
    text = new_text_encoder(tokenizer, recipe.text_width)
    if begin:
        warm_start_text_encoder(text, tokenizer, begin)
    train_text_encoder(text, tokenizer, work / "text_encoder.pt", recipe.text_steps, machine)

    autoencoder = new_autoencoder(recipe.autoencoder_width)
    if begin:
        warm_start_autoencoder(autoencoder, begin)
    batch = recipe.autoencoder_batch
    train_autoencoder(autoencoder, pictures, work / "autoencoder.pt", recipe.autoencoder_steps, batch, machine)

    latents = load_or_encode_latents(autoencoder, recipe, machine)
    scale = round(1 / latents[:SCALED_BY].float().std().item(), 4)

    unet = new_denoiser(recipe.channels, recipe.attentive, latents.shape[-1], recipe.text_width)
    if begin:
        warm_start_denoiser(unet, begin)
    scheduler = DPMSolverMultistepScheduler(**schedule(recipe.beta_end))
    batches = DenoiserBatches(latents, scale, scheduler.alphas_cumprod, tokenizer, recipe.denoiser_batch, seed=3)
    state, peak = work / f"denoiser-{recipe.denoiser_inputs_key}.pt", recipe.denoiser_peak
    train_denoiser(unet, text, batches, state, recipe.denoiser_steps, machine, peak=peak)
    state = work / f"decoder-{recipe.denoiser_inputs_key}.pt"
    train_decoder(autoencoder, latents, pictures, state, recipe.decoder_steps, batch, machine)

    package(model, autoencoder, scale, text, tokenizer, unet, scheduler)
    write_preview_matrix(model, latents, scale, pictures)
