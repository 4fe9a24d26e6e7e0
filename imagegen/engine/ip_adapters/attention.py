"""The attention of a denoiser to reference pictures: of a UNet, and of the transformer of FLUX.1.

An IP-Adapter adds an attention of its own to each cross-attention of a UNet: with the same queries, and with keys and
values that it makes of a picture (Ye et al. 2023, https://arxiv.org/abs/2308.06721). In FLUX.1, it does so for the
picture's tokens in each block of two streams. Here keys and values are arguments of the call, with a row for each row
of the call: jobs with different IP-Adapters, or without any, share a pass, and nothing of them stays in the denoiser.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import FluxTransformer2DModel, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.models.transformers.transformer_flux import FluxAttention, FluxAttnProcessor
from torch import Tensor
from torch.nn import functional as F

# The arguments of a denoiser's call that its attentions get, and what stands in them for reference pictures: diffusers
# says nothing of this name in an attention that has no use for it.
UNET_ARGUMENT, FLUX_ARGUMENT = "cross_attention_kwargs", "joint_attention_kwargs"
KEYS_AND_VALUES = "ip_hidden_states"

# Keys and values for one attention, each of shape (rows, references, tokens, width).
KeysAndValues = tuple[Tensor, Tensor]


class ReferenceAttention(AttnProcessor2_0):  # type: ignore[misc] # It has no types.
    """The cross-attention number `layer` of a UNet. Without reference pictures it is diffusers' own, to the bit."""

    def __init__(self, layer: int) -> None:
        super().__init__()
        self.layer = layer

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        ip_hidden_states: Sequence[KeysAndValues] | None = None,
    ) -> Tensor:
        """`ip_hidden_states` has the keys and values for each cross-attention of the UNet.

        No pipeline here masks the text.
        """
        if ip_hidden_states is None:
            output: Tensor = super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
            return output
        assert encoder_hidden_states is not None and attention_mask is None
        query, key, value = attn.to_q(hidden_states), attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states)
        attended = attend(query, key, value, attn.heads)
        keys, values = ip_hidden_states[self.layer]
        for key, value in zip(keys.unbind(1), values.unbind(1), strict=True):  # Of one picture each.
            attended = attended + attend(query, key, value, attn.heads)
        return attn.to_out[1](attn.to_out[0](attended)) / attn.rescale_output_factor  # type: ignore[no-any-return]


class FluxReferenceAttention(FluxAttnProcessor):  # type: ignore[misc] # It has no types.
    """The attention of the block number `layer` of two streams. Without reference pictures it is diffusers' own."""

    def __init__(self, layer: int) -> None:
        super().__init__()
        self.layer = layer

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Tensor | None = None,
        ip_hidden_states: Sequence[KeysAndValues] | None = None,
    ) -> tuple[Tensor, ...]:
        """`ip_hidden_states` has the keys and values for each such block, which adds the last output to its own."""
        outputs: tuple[Tensor, ...] = super().__call__(
            attn, hidden_states, encoder_hidden_states, attention_mask, image_rotary_emb
        )
        if ip_hidden_states is None:
            return outputs
        query = attn.norm_q(attn.to_q(hidden_states).unflatten(-1, (-1, attn.head_dim))).flatten(2)
        keys, values = ip_hidden_states[self.layer]
        attended = [
            attend(query, key, value, attn.heads) for key, value in zip(keys.unbind(1), values.unbind(1), strict=True)
        ]
        return *outputs, torch.stack(attended).sum(dim=0)


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Returns the attention of `query` to keys and values. All are of shape (rows, tokens, width)."""
    query, key, value = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


def list_attentions(denoiser: Any) -> list[Any]:
    """Returns the attentions of a denoiser to references, in the order in which IP-Adapters number them.

    There are none in a denoiser of another class.
    """
    if isinstance(denoiser, FluxTransformer2DModel):
        return [block.attn for block in denoiser.transformer_blocks]
    if not isinstance(denoiser, UNet2DConditionModel):
        return []
    names = [name.removesuffix(".processor") for name in denoiser.attn_processors]
    return [denoiser.get_submodule(name) for name in names if name.endswith("attn2")]


def list_key_shapes(denoiser: Any) -> list[tuple[int, int]]:
    """Returns the shapes of the weights that an IP-Adapter must have to make keys for a denoiser's attentions."""
    is_flux = isinstance(denoiser, FluxTransformer2DModel)
    return [
        (each.to_k.out_features, denoiser.config.joint_attention_dim if is_flux else each.to_k.in_features)
        for each in list_attentions(denoiser)
    ]


def get_attention_argument(denoiser: torch.nn.Module) -> str:
    """Returns the argument of a denoiser's call that its attentions get."""
    return FLUX_ARGUMENT if isinstance(denoiser, FluxTransformer2DModel) else UNET_ARGUMENT


def add_reference_attention(denoiser: torch.nn.Module) -> None:
    """Makes the attentions of a denoiser take keys and values of reference pictures, if all are plain ones."""
    processor_class = FluxReferenceAttention if isinstance(denoiser, FluxTransformer2DModel) else ReferenceAttention
    attentions = list_attentions(denoiser)
    if all(is_plain(attention) for attention in attentions):
        for layer, attention in enumerate(attentions):
            attention.set_processor(processor_class(layer))


def has_reference_attention(denoiser: torch.nn.Module) -> bool:
    """Returns whether a denoiser can look at reference pictures."""
    attentions = list_attentions(denoiser)
    kinds = (ReferenceAttention, FluxReferenceAttention)
    return bool(attentions) and all(isinstance(each.processor, kinds) for each in attentions)


def is_plain(attention: Any) -> bool:
    """Returns whether an attention computes no more than attention."""
    if isinstance(attention, FluxAttention):
        return type(attention.processor) is FluxAttnProcessor and not attention.fused_projections
    parts = ("spatial_norm", "group_norm", "norm_cross", "norm_q", "norm_k")
    has_parts = any(getattr(attention, name, None) is not None for name in parts)
    return type(attention.processor) is AttnProcessor2_0 and not has_parts and not attention.residual_connection
