"""Prepares the reference pictures of a job: what its denoiser's calls get to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from imagegen.engine.batching.collate import Arguments, count_rows
from imagegen.engine.ip_adapters.attention import (
    KEYS_AND_VALUES,
    KeysAndValues,
    get_attention_argument,
    has_reference_attention,
    list_key_shapes,
)
from imagegen.engine.ip_adapters.networks import IpAdapter, encode_picture
from imagegen.engine.models.loaded import LoadedModel
from imagegen.engine.models.network_cache import LoadedNetwork
from imagegen.engine.run_loop import run_in_thread, wait_for
from imagegen.errors import InvalidRequest, ModelLoadFailed
from imagegen.schema.request import GenerationRequest


class JobReferences:
    """What a job's reference pictures add to the calls of its denoiser, for `pictures` pictures at once.

    `layers` has keys and values for each attention, with a first row for no picture and a second for the pictures.
    They stand in the call's argument of the name `argument`.
    """

    def __init__(self, layers: Sequence[KeysAndValues], pictures: int, argument: str) -> None:
        self.layers, self.pictures, self.argument = layers, pictures, argument
        self._by_rows: dict[int, Mapping[str, object]] = {}

    def for_pictures(self, pictures: int) -> JobReferences:
        """Returns the same for another number of pictures at once."""
        return self if pictures == self.pictures else JobReferences(self.layers, pictures, self.argument)

    def build_arguments(self, arguments: Arguments) -> Mapping[str, object]:
        """Returns the arguments that a call gets besides its own: the last `pictures` of its rows have the prompt."""
        if not self.layers:
            return {}
        rows = count_rows(arguments)
        if rows not in self._by_rows:
            layers = tuple(tuple(self._repeat(each, rows) for each in layer) for layer in self.layers)
            self._by_rows[rows] = {self.argument: {KEYS_AND_VALUES: layers}}
        return self._by_rows[rows]

    def _repeat(self, both: Tensor, rows: int) -> Tensor:
        parts = zip(both.split(1), (rows - self.pictures, self.pictures), strict=True)
        return torch.cat([each.expand(count, *each.shape[1:]) for each, count in parts])


def prepare_references(
    request: GenerationRequest,
    model: LoadedModel,
    ip_adapters: Sequence[LoadedNetwork],
    encoders: Sequence[LoadedNetwork],
    input_images: Mapping[str, Image.Image],
) -> JobReferences:
    """Returns the references of a job. Other jobs go on while pictures are made smaller.

    `input_images` are pictures by place. Raises InvalidRequest for a model whose networks are not shared, and
    ModelLoadFailed for an IP-Adapter that does not fit.
    """
    pictures, argument = len(request.prompts), get_attention_argument(model.denoiser)
    if not ip_adapters:
        return JobReferences((), pictures, argument)
    if model.shared_networks is None:
        raise InvalidRequest("references", "cannot be used with a model that shares a small GPU (low_memory)")
    found = []
    for number, use in enumerate(request.references):
        ip_adapter, encoder = ip_adapters[number], encoders[number]
        check_layers(ip_adapter.network, model.denoiser, ip_adapter.source.name)
        image = input_images[f"references[{number}].image"]
        pixels = wait_for(run_in_thread(partial(build_pixels, image, encoder.network)))
        found.append(compute_keys_and_values(ip_adapter.network, encoder.network, pixels, use.weight))
    layers = [
        (torch.stack([key for key, _ in parts], dim=1), torch.stack([value for _, value in parts], dim=1))
        for parts in zip(*found, strict=True)
    ]
    return JobReferences(layers, pictures, argument)


def check_layers(network: Any, denoiser: nn.Module, name: str) -> None:
    """Raises ModelLoadFailed for an IP-Adapter whose keys are not those of the denoiser's attentions."""
    own = [(layer.out_features, layer.in_features) for layer in network.to_k_ip]
    expected = list_key_shapes(denoiser)
    if own != expected or not has_reference_attention(denoiser):
        raise ModelLoadFailed(name, f"it does not fit the model, whose {len(expected)} attentions have other keys")


def build_pixels(image: Image.Image, encoder: Any) -> Tensor:
    """Returns the middle of a picture as the image encoder gets it, of shape (1, 3, side, side)."""
    side = encoder.config.image_size
    pixels: Tensor = CLIPImageProcessorPil(size=side, crop_size=side)(image, return_tensors="pt").pixel_values
    return pixels


@torch.no_grad()
def compute_keys_and_values(ip_adapter: Any, encoder: Any, pixels: Tensor, weight: float) -> list[KeysAndValues]:
    """Returns keys and weighed values for each attention, with a row for no picture and one for the picture."""
    assert isinstance(ip_adapter, IpAdapter)
    embeds = encode_picture(encoder, pixels.to(next(encoder.parameters())), ip_adapter.encoder_output)
    both = torch.cat([embeds.nothing, embeds.picture]).to(next(ip_adapter.parameters()))
    return [(keys, values * weight) for keys, values in ip_adapter(both)]
