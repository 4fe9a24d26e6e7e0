"""To begin with what a model knows already, even where the new one is larger or has other words."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer


@torch.no_grad()
def begin_autoencoder(model: AutoencoderTiny, folder: Path) -> None:
    take_over(model, AutoencoderTiny.from_pretrained(folder / "vae").state_dict())


@torch.no_grad()
def begin_text_encoder(model: CLIPTextModel, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Words that both vocabularies have keep their embedding."""
    before = CLIPTextModel.from_pretrained(folder / "text_encoder")
    numbers: dict[str, int] = CLIPTokenizer.from_pretrained(folder / "tokenizer").get_vocab()
    known = before.get_input_embeddings().weight
    for word, number in tokenizer.get_vocab().items():
        if word in numbers and known.shape[1] == model.config.hidden_size:
            model.get_input_embeddings().weight[number] = known[numbers[word]]
    take_over(model, {name: value for name, value in before.state_dict().items() if "token_embedding" not in name})


@torch.no_grad()
def begin_denoiser(model: UNet2DConditionModel, folder: Path) -> None:
    """A denoiser with more levels takes over those that it has in common, counted from the innermost."""
    before = UNet2DConditionModel.from_pretrained(folder / "unet")
    more = len(model.config.block_out_channels) - len(before.config.block_out_channels)
    renamed = {}
    for name, value in before.state_dict().items():
        part, *rest = name.split(".")
        if part == "down_blocks":
            rest[0] = str(int(rest[0]) + more)
        renamed[".".join((part, *rest))] = value
    take_over(model, renamed)


def take_over(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Takes what has the same name and shape; of a weight that is smaller or larger, nothing."""
    own = model.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    print(f"begins with {len(fitting)} of {len(own)} weights", flush=True)
    model.load_state_dict(fitting, strict=False)
