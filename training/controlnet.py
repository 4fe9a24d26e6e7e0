"""A ControlNet for the embedded model: pictures get the edges of a map.

The denoiser is frozen. A copy of its encoder, which also sees the map, learns what to add to the outputs of the
encoder (Zhang et al., Adding Conditional Control to Text-to-Image Diffusion Models, 2023).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

from imagegen.media.control_maps.canny import find_edges
from training.captions import caption
from training.control_pipeline import ControlPipeline
from training.controlnet_start import TimeEmbeddingFit, new_controlnet
from training.dataset import sample_picture
from training.denoiser import DenoiserBatches, make_velocity_target, select_attention_backend
from training.edge_maps import EdgeExamples, load_or_make_examples, make_training_map, to_map
from training.edge_score import average, compare_edges
from training.loop import TrainingSchedule, run_training
from training.machine import Machine
from training.recipe import FIRST_SEED, Recipe
from training.score import make_trials
from training.text_encoder import tokenize

# The edges of a picture are decided while it is noisier than the median of the denoiser's own training.
CENTRE = 0.8
FIT_CAPTIONS, FIT_PART = 600, 100
# The peak learning rate of the layers that see the map; that of the last layers and of the copied encoder, relative
# to it.
PEAK, LAST_RATE, ENCODER_RATE = 1e-3, 3.0, 0.3
# A score for the log: pictures, steps of the sampler, and training steps from one to the next.
LOGGED_TRIALS, LOGGED_STEPS, LOGGED_EVERY = 12, 10, 500


class ControlBatches(DenoiserBatches):
    """Batches that also have maps. More captions are empty, so that the map alone decides the edges."""

    unconditional = 0.5

    def __init__(self, examples: EdgeExamples, pipeline: StableDiffusionPipeline, batch: int) -> None:
        scale: float = pipeline.vae.config.scaling_factor
        alphas: Tensor = pipeline.scheduler.alphas_cumprod
        super().__init__(examples.latents, scale, alphas, pipeline.tokenizer, batch, seed=15)
        self.examples = examples

    def make_maps(self, step: int) -> Tensor:
        """Returns the maps of the batch of `make_batch(step)`: float32 of shape (N, 3, size, size) in 0..1."""
        rng = np.random.default_rng((self.seed, step))
        chosen, _ = self.choose_pictures(step)
        return torch.stack([make_training_map(self.examples, index, rng) for index in chosen])


def train_controlnet(recipe: Recipe, model: Path, folder: Path, machine: Machine) -> None:
    """Trains a ControlNet for the model in the folder `model`, and writes it to `folder`.

    Raises OutOfTimeError with its state saved.
    """
    pipeline = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32)
    batches = ControlBatches(load_or_make_examples(pipeline.vae, recipe, machine), pipeline, recipe.controlnet_batch)
    unet: UNet2DConditionModel = pipeline.unet.requires_grad_(False)
    controlnet = start_controlnet(pipeline, batches.make_maps(0), recipe.controlnet_fit_steps)
    pipeline.to(machine.device)
    for network in (unet, controlnet):
        network.to(machine.device, memory_format=torch.channels_last)
    text, alphas = pipeline.text_encoder, batches.alphas.to(machine.device)
    compiled_unet, compiled_controlnet = machine.compile(unet), machine.compile(controlnet)

    def compute_loss(step: int) -> tuple[Tensor, dict[str, float | Tensor]]:
        clean, ids = (part.to(machine.device) for part in batches.make_batch(step))
        maps = batches.make_maps(step).to(machine.device, memory_format=torch.channels_last)
        noisy, times, target = make_velocity_target(clean, alphas, CENTRE)
        with machine.autocast(), select_attention_backend(machine):
            with torch.no_grad():
                words = text(ids).last_hidden_state
            down, mid = compiled_controlnet(noisy, times, words, maps, return_dict=False)
            output = compiled_unet(
                noisy, times, words, down_block_additional_residuals=down, mid_block_additional_residual=mid
            ).sample
        is_logged = (step + 1) % LOGGED_EVERY == 0
        figures = log_agreement(pipeline, controlnet, recipe) if is_logged else {}
        return F.mse_loss(output.float(), target), figures

    training_schedule = TrainingSchedule(
        "controlnet", recipe.controlnet_steps, PEAK, warmup=max(1, min(100, recipe.controlnet_steps // 20))
    )
    state = recipe.work / f"controlnet-{recipe.controlnet_pictures}.pt"
    rates = choose_rates(controlnet, lambda: compute_loss(0))
    run_training(training_schedule, list(rates), compute_loss, state, machine, batches.seed, list(rates.values()))
    controlnet.cpu().half().save_pretrained(folder)


@torch.no_grad()
def choose_rates(controlnet: ControlNetModel, run: Callable[[], object]) -> dict[nn.Module, float]:
    """Returns all modules with weights, with their learning rates relative to PEAK.

    Those of the last layers are divided by the size of their inputs, which is 25 times larger at the deepest level than
    at the first: otherwise the deepest ones would soon drown the denoiser's own features. `run` runs the ControlNet.
    """
    last = [*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block]
    sizes: dict[nn.Module, float] = {}

    def measure(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        sizes[layer] = inputs[0].float().square().mean().sqrt().item()

    hooks = [layer.register_forward_pre_hook(measure) for layer in last]
    run()
    for hook in hooks:
        hook.remove()
    encoder = (
        controlnet.conv_in, controlnet.time_embedding, controlnet.add_embedding, controlnet.down_blocks,
        controlnet.mid_block,
    )  # fmt: skip
    return {
        controlnet.controlnet_cond_embedding: 1.0,
        **dict.fromkeys(encoder, ENCODER_RATE),
        **{layer: LAST_RATE / max(1.0, size) for layer, size in sizes.items()},
    }


def start_controlnet(pipeline: StableDiffusionPipeline, maps: Tensor, fit_steps: int) -> ControlNetModel:
    """Returns a ControlNet whose encoder computes almost what the denoiser's does, without `maps`."""
    torch.manual_seed(14)
    controlnet = new_controlnet(pipeline.unet, maps)
    words = encode_captions(pipeline.text_encoder, pipeline.tokenizer)
    left = TimeEmbeddingFit(controlnet, pipeline.unet, words).fit(fit_steps)
    print(f"fitted the time embedding: {left:.2%} of its variance is left", flush=True)
    return controlnet


@torch.no_grad()
def encode_captions(text: CLIPTextModel, tokenizer: CLIPTokenizer) -> Tensor:
    """Returns the text encoder's output for an empty caption and some others: shape (N, 77, width)."""
    pictures = [sample_picture(FIRST_SEED + number) for number in range(FIT_CAPTIONS)]
    texts = ["", *(caption(picture, random.Random(number)).text for number, picture in enumerate(pictures))]
    parts = [texts[start : start + FIT_PART] for start in range(0, len(texts), FIT_PART)]
    return torch.cat([text(tokenize(tokenizer, part)).last_hidden_state for part in parts])


def log_agreement(
    pipeline: StableDiffusionPipeline, controlnet: ControlNetModel, recipe: Recipe
) -> dict[str, float | Tensor]:
    """Returns how well pictures of prompts that are not used in training have the edges of their maps."""
    trials = make_trials(LOGGED_TRIALS, recipe.size)
    wanted = [find_edges(trial.reference) for trial in trials]
    pictures = ControlPipeline(pipeline, controlnet).draw(
        [trial.prompt for trial in trials], [to_map(edges) for edges in wanted], LOGGED_STEPS
    )
    found = [find_edges(picture) for picture in pictures]
    return {"F1": average([compare_edges(*pair) for pair in zip(wanted, found, strict=True)]).f1}
