"""Copies weights of an existing model into a new one, even if it is larger or has another vocabulary."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer


@torch.no_grad()
def warm_start_autoencoder(model: AutoencoderTiny, folder: Path) -> None:
    """Copies weights of the autoencoder in the model folder."""
    copy_matching_weights(model, AutoencoderTiny.from_pretrained(folder / "vae").state_dict())


@torch.no_grad()
def warm_start_text_encoder(model: CLIPTextModel, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Copies weights of the text encoder, and the embeddings of words that are in both vocabularies."""
    before = CLIPTextModel.from_pretrained(folder / "text_encoder")
    numbers: dict[str, int] = CLIPTokenizer.from_pretrained(folder / "tokenizer").get_vocab()
    embeddings = before.get_input_embeddings().weight
    for word, number in tokenizer.get_vocab().items():
        if word in numbers and embeddings.shape[1] == model.config.hidden_size:
            model.get_input_embeddings().weight[number] = embeddings[numbers[word]]
    copy_matching_weights(
        model, {name: value for name, value in before.state_dict().items() if "token_embedding" not in name}
    )


@torch.no_grad()
def warm_start_denoiser(model: UNet2DConditionModel, folder: Path) -> None:
    """Copies weights of the levels that both denoisers have, counted from the innermost."""
    before = UNet2DConditionModel.from_pretrained(folder / "unet")
    more = len(model.config.block_out_channels) - len(before.config.block_out_channels)
    renamed = {}
    for name, value in before.state_dict().items():
        part, *rest = name.split(".")
        if part == "down_blocks":
            rest[0] = str(int(rest[0]) + more)
        renamed[".".join((part, *rest))] = value
    copy_matching_weights(model, renamed)


def copy_matching_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copies weights of equal name and shape; others are left as they are."""
    target = model.state_dict()
    matching = {name: value for name, value in weights.items() if name in target and target[name].shape == value.shape}
    print(f"copied {len(matching)} of {len(target)} weights", flush=True)
    model.load_state_dict(matching, strict=False)
