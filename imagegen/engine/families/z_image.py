"""Z-Image. Its autoencoder is that of FLUX.1."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from imagegen.engine.batching.collate import Arguments, BatchRules
from imagegen.engine.families.base import ModelFamily
from imagegen.engine.families.flux import Flux
from imagegen.engine.protocols import Pipeline
from imagegen.library.family_facts import Z_IMAGE

# What ControlNets add to the denoiser's features.
FEATURES_ARGUMENT = "controlnet_block_samples"
# Rows and columns of latents in a token of the picture; the tokens of a picture and those of a prompt are filled up to
# multiples of a number, as in ZImageTransformer2DModel.
PATCH, TOKEN_MULTIPLE = 2, 32


class ZImage(ModelFamily):
    """The denoiser takes lists with one tensor per row: of latents, and of text features."""

    facts = Z_IMAGE
    batch_rules = BatchRules(timesteps=("t",), lists=("x", "cap_feats"), additions=(FEATURES_ARGUMENT,))
    preview_projection = Flux.preview_projection

    def prepare(self, pipeline: Pipeline, dtype: torch.dtype) -> None:
        self.get_denoiser(pipeline).register_forward_pre_hook(fit_features, with_kwargs=True)


def count_tokens(arguments: Arguments) -> int:
    """Returns the tokens of the longest row of a call: those of its picture and its prompt."""
    pictures, prompts = arguments["x"], arguments["cap_feats"]
    assert isinstance(pictures, list) and isinstance(prompts, list)
    lengths = [
        round_up(picture[0].numel() // PATCH**2) + round_up(len(prompt))
        for picture, prompt in zip(pictures, prompts, strict=True)
    ]
    return max(lengths)


def round_up(tokens: int) -> int:
    return -(-tokens // TOKEN_MULTIPLE) * TOKEN_MULTIPLE


def fit_features(
    denoiser: object, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Fills up the features of ControlNets with zeros, where rows without them have longer prompts."""
    features: dict[int, Tensor] | None = named.get(FEATURES_ARGUMENT)
    if not features:
        return None
    tokens = count_tokens(named)
    fitted = {place: F.pad(each, (0, 0, 0, tokens - each.shape[1])) for place, each in features.items()}
    return arguments, {**named, FEATURES_ARGUMENT: fitted}
