"""A small CLIP text encoder, trained to classify what a caption describes.

It is trained before the denoiser, and much faster than through it. Linear probes read the attributes both from the mean
of all its outputs and from a random one after the end of the text, so that every output contains the whole prompt.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training.captions import caption
from training.drawing.sampling import sample
from training.drawing.vocabulary import EXTRAS
from training.labels import CLASSES, IGNORED, Labels, labels
from training.loop import TrainingSchedule, run_training
from training.machine import Machine

BATCH = 128
# No caption has more tokens, so that most steps can leave out the rest of the 77 positions.
SHORT = 64
SHORT_SHARE = 0.7


def new_text_encoder(tokenizer: CLIPTokenizer, width: int) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = CLIPTextModel(config)
    for name, parameter in model.named_parameters():
        if "embedding" in name:
            nn.init.normal_(parameter, std=0.05)
    return model


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Returns token ids of shape (N, 77), padded and truncated as the pipeline does."""
    encoded = tokenizer(texts, padding="max_length", truncation=True, max_length=77, return_tensors="pt")
    ids: Tensor = encoded.input_ids
    return ids


class AttributeProbe(nn.Module):
    """Linear classifiers on an embedding; discarded after training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.classes = nn.ModuleDict({name: nn.Linear(width, len(names)) for name, names in CLASSES.items()})
        self.extras = nn.Linear(width, len(EXTRAS))

    def loss(self, embedding: Tensor, truth: Labels) -> Tensor:
        loss = F.binary_cross_entropy_with_logits(self.extras(embedding), truth.extras)
        for column, head in enumerate(self.classes.values()):
            answer = truth.classes[:, column]
            some = (answer != IGNORED).sum().clamp(min=1)
            wrong = F.cross_entropy(head(embedding), answer, ignore_index=IGNORED, reduction="sum")
            loss = loss + wrong / some / len(self.classes)
        return loss

    @torch.no_grad()
    def error_rate(self, embedding: Tensor, truth: Labels) -> Tensor:
        """Returns the share of captions with any wrong attribute."""
        good = ((self.extras(embedding) > 0) == (truth.extras > 0.5)).all(1)
        for column, head in enumerate(self.classes.values()):
            answer = truth.classes[:, column]
            good &= (answer == IGNORED) | (head(embedding).argmax(1) == answer)
        right: Tensor = good.float().mean()
        return 1 - right


def train_text_encoder(
    encoder: CLIPTextModel, tokenizer: CLIPTokenizer, state: Path, steps: int, machine: Machine, peak: float = 2e-3
) -> CLIPTextModel:
    """Trains the encoder on random captions, with the peak learning rate `peak`."""
    seed = 2
    encoder.to(machine.device)
    probe = AttributeProbe(encoder.config.hidden_size).to(machine.device)

    def compute_loss(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        rng = random.Random(f"{seed}-{step}")
        pictures = [sample(rng) for _ in range(BATCH)]
        captions = [caption(picture, rng) for picture in pictures]
        length = SHORT if step < SHORT_SHARE * steps else 77
        ids = tokenize(tokenizer, [c.text for c in captions])[:, :length].to(machine.device)
        truth = labels(pictures, [c.silent for c in captions]).to(machine.device)
        with machine.autocast():
            output = encoder(ids).last_hidden_state
        output = output.float()
        end = ids.eq(tokenizer.eos_token_id).int().argmax(1)
        position = end + ((length - end) * torch.rand(BATCH, device=ids.device)).long()
        mean, one = output.mean(1), output[torch.arange(BATCH), position]
        loss = probe.loss(mean, truth) + probe.loss(one, truth)
        return loss, {"wrong": probe.error_rate(mean, truth), "wrong_one": probe.error_rate(one, truth)}

    training_schedule = TrainingSchedule("text encoder", steps, peak, average=0.99, momenta=(0.9, 0.98))
    run_training(training_schedule, [encoder, probe], compute_loss, state, machine, seed)
    return encoder
