"""The attention of a UNet to reference pictures.

An IP-Adapter adds an attention of its own to each cross-attention of a UNet: with the same queries, and with keys and
values that it makes of a picture (Ye et al. 2023, https://arxiv.org/abs/2308.06721). Here keys and values are arguments
of the call, with a row for each row of the call: jobs with different IP-Adapters, or without any, share a pass, and
nothing of them stays in the UNet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor
from torch.nn import functional as F

# The argument of a UNet's call that its attentions get, and what stands in it for reference pictures: diffusers says
# nothing of this name in a self-attention, which has no use for it.
ATTENTION_ARGUMENT = "cross_attention_kwargs"
KEYS_AND_VALUES = "ip_hidden_states"

# Keys and values for one cross-attention, each of shape (rows, references, tokens, width).
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


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Returns the attention of `query` to keys and values. All are of shape (rows, tokens, width)."""
    query, key, value = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


def list_cross_attentions(unet: Any) -> list[Any]:
    """Returns the cross-attentions of a UNet in the order in which IP-Adapters number them."""
    names = [name.removesuffix(".processor") for name in unet.attn_processors]
    return [unet.get_submodule(name) for name in names if name.endswith("attn2")]


def add_reference_attention(unet: torch.nn.Module) -> None:
    """Makes the cross-attentions of a UNet take keys and values of reference pictures, if all are plain ones."""
    attentions = list_cross_attentions(unet)
    if all(is_plain(attention) for attention in attentions):
        for layer, attention in enumerate(attentions):
            attention.set_processor(ReferenceAttention(layer))


def has_reference_attention(unet: torch.nn.Module) -> bool:
    """Returns whether a UNet can look at reference pictures."""
    attentions = list_cross_attentions(unet)
    return bool(attentions) and all(isinstance(each.processor, ReferenceAttention) for each in attentions)


def is_plain(attention: Any) -> bool:
    """Returns whether a cross-attention computes no more than attention."""
    parts = ("spatial_norm", "group_norm", "norm_cross", "norm_q", "norm_k")
    has_parts = any(getattr(attention, name, None) is not None for name in parts)
    return type(attention.processor) is AttnProcessor2_0 and not has_parts and not attention.residual_connection
